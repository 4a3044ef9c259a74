"""Trainings side by side, each on its own device. The devices are simulated: numbers without a GPU."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from datetime import datetime

import pytest
import torch
from workflow_runs import TINY

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.is_available(), reason="simulated devices would hide the real ones"),
]

LINE = re.compile(r"^(?P<time>[\d-]+ [\d:,]+) INFO GPU (?P<gpu>\d) (?P<what>leased|returned)$", re.MULTILINE)
#: Snakemake notices an end, starts Python, and Python takes the lease: seconds on a busy machine.
PAUSE_S = 15.0


def leases(experiment) -> dict[str, list[tuple[float, float, str]]]:
    """Device to (start, end, training) in order of time, from the logs of the trainings."""
    found = defaultdict(list)
    for log in (experiment.results / "logs" / "train").glob("*.log"):
        leased, returned = LINE.finditer(log.read_text())
        assert (leased["what"], returned["what"]) == ("leased", "returned")
        start, end = (
            datetime.strptime(m["time"], "%Y-%m-%d %H:%M:%S,%f").timestamp() for m in (leased, returned)
        )
        found[leased["gpu"]].append((start, end, log.stem))
    return {gpu: sorted(held) for gpu, held in found.items()}


def models(count: int) -> list[str]:
    """Weights files to ask for."""
    names = [f"{name}/fold_{fold}" for fold in range(3) for name in ("2d", "3d_fullres")]
    return [f"results/data/nnunet/models/{name}/model.pt" for name in names[:count]]


def test_six_trainings_on_two_devices(experiment):
    experiment.configure(
        folds=[0, 1, 2],
        device="auto",
        training={**TINY["training"], "iterations": 12},
        resources={"workers": 0, "threads": 1},
    )
    experiment.finish(*models(6), "--resources", "gpu=2", CUDA_VISIBLE_DEVICES="0,1")
    held = leases(experiment)
    assert sorted(held) == ["0", "1"]
    assert sum(map(len, held.values())) == 6
    last_start = max(start for jobs in held.values() for start, _, _ in jobs)
    for gpu, jobs in held.items():
        for (_, end, one), (start, _, following) in itertools.pairwise(jobs):
            assert end <= start, f"{one} and {following} shared GPU {gpu}"
        starts = [*(start for start, _, _ in jobs[1:]), last_start]
        idle = max(start - end for start, (_, end, _) in zip(starts, jobs, strict=True))
        assert idle < PAUSE_S, f"GPU {gpu} stood idle for {idle:.1f} s while a training waited"


def test_no_gpu_means_the_cpu(experiment):
    experiment.configure(folds=[0], configurations=["2d"], device="auto")
    said = experiment.finish(*models(1), "--resources", "gpu=0", CUDA_VISIBLE_DEVICES="0,1")
    assert not [log for log in (experiment.results / "logs").rglob("*.log") if LINE.search(log.read_text())]
    assert "no GPU found" not in said, "the CPU was chosen, not fallen back to"
