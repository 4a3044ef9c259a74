"""Trainings side by side, each on a device of its own. Devices are stand-ins: numbers that no driver knows."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

import pytest
import torch
from workflow_runs import TINY

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.is_available(), reason="stand-in devices would hide the real ones"),
]

LINE = re.compile(
    r"^(?P<time>[\d-]+ [\d:,]+) INFO (?P<what>GPU (?P<gpu>\d) (?:leased|returned))$", re.MULTILINE
)
#: Snakemake notices an end, starts Python, and Python takes the lease: seconds on a busy machine.
PAUSE_S = 15.0


@dataclass(frozen=True)
class Lease:
    """Who held a device, and from when to when."""

    job: str
    start: float
    end: float


def leases(experiment, stage: str) -> dict[str, list[Lease]]:
    """Device to its leases in order of time, from the logs of a stage."""
    found = defaultdict(list)
    for log in (experiment.results / "logs" / stage).glob("*.log"):
        events = [
            (datetime.strptime(m["time"], "%Y-%m-%d %H:%M:%S,%f").timestamp(), m["gpu"], m["what"])
            for m in LINE.finditer(log.read_text())
        ]
        assert [what.split()[-1] for _, _, what in events] == ["leased", "returned"], log.read_text()
        (start, gpu, _), (end, _, _) = events
        found[gpu].append(Lease(log.stem, start, end))
    return {gpu: sorted(held, key=lambda lease: lease.start) for gpu, held in found.items()}


def models(count: int) -> list[str]:
    """Weights files to ask for."""
    names = [f"{name}/fold_{fold}" for fold in range(3) for name in ("2d", "3d_fullres")]
    return [f"results/data/nnunet/models/{name}/model.pt" for name in names[:count]]


def test_six_trainings_on_two_devices(experiment):
    training = {**TINY["training"], "iterations": 12}
    experiment.configure(
        folds=[0, 1, 2], device="auto", training=training, resources={"workers": 0, "threads": 1}
    )
    experiment.finish(*models(6), "--resources", "gpu=2", CUDA_VISIBLE_DEVICES="0,1")
    held = leases(experiment, "train")
    assert sorted(held) == ["0", "1"]
    assert sum(map(len, held.values())) == 6
    for gpu, jobs in held.items():
        for one, following in itertools.pairwise(jobs):
            assert one.end <= following.start, f"{one.job} and {following.job} shared GPU {gpu}"
    waiting_until = max(lease.start for jobs in held.values() for lease in jobs)
    for gpu, jobs in held.items():
        ends = [lease.end for lease in jobs]
        starts = [*(lease.start for lease in jobs[1:]), waiting_until]
        idle = [start - end for end, start in zip(ends, starts, strict=True)]
        assert max(idle) < PAUSE_S, f"GPU {gpu} stood idle for {max(idle):.1f} s while a training waited"


def test_no_gpu_means_the_cpu(experiment):
    experiment.configure(folds=[0], configurations=["2d"], device="auto")
    said = experiment.finish(*models(1), "--resources", "gpu=0", CUDA_VISIBLE_DEVICES="0,1")
    assert not [log for log in (experiment.results / "logs").rglob("*.log") if LINE.search(log.read_text())]
    assert "no GPU found" not in said, "the CPU was chosen, not fallen back to"
