"""The workflow on a cluster: jobs that are stopped half-way go on, and the results are those of a local run."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
import torch
import yaml
from cluster import GPU_TYPE, PARTITION
from workflow_runs import REPOSITORY, TINY, Experiment, new_experiment

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

#: What users are given.
PROFILE = REPOSITORY / "workflow" / "profiles" / "slurm"

#: Long enough for a checkpoint to be seen before the end, short enough to wait for.
SETTINGS = {
    "training": {**TINY["training"], "epochs": 12, "iterations": 10},
    "resources": {**TINY["resources"], "threads": 1},
}

#: One reaches its time limit, the other is cancelled.
TIMED_OUT, CANCELLED = "3d_fullres_fold_0", "3d_fullres_fold_1"

#: One minute, SLURM's shortest limit, for the first try of one training. It is enforced every half minute.
LIMIT = "1 if (wildcards.configuration, wildcards.fold, attempt) == ('3d_fullres', '0', 1) else 60"

#: Seconds until the first look at a job, and one that few jobs exceed: the second look comes 10 seconds later still.
FIRST_LOOK_S = 8


def log_of(experiment: Experiment, training: str) -> Path:
    return experiment.results / "logs" / "train" / f"{training}.log"


def checkpoints_of(experiment: Experiment, training: str) -> list[Path]:
    return list((experiment.results / "work" / training).glob("*/checkpoint.pt"))


def weights_of(experiment: Experiment, training: str) -> Path:
    configuration, fold = training.split("_fold_")
    return experiment.results / "models" / configuration / f"fold_{fold}" / "model.pt"


def tell(text: str) -> None:
    """Timings, for those who run pytest with -s."""
    print(text, flush=True)  # noqa: T201


@dataclass(frozen=True)
class Job:
    """A job in SLURM's queue."""

    number: str
    training: str

    def cancel(self) -> None:
        subprocess.run(["scancel", self.number], check=True)

    def report(self) -> dict[str, str]:
        """What SLURM knows of it."""
        shown = ["scontrol", "--oneliner", "show", "job", self.number]
        said = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
        return dict(word.split("=", 1) for word in said.split() if "=" in word)


def running(training: str) -> Job:
    """The job of a training that is running now."""
    shown = ["squeue", "--noheader", "--states=RUNNING", "--format=%i %k"]
    listed = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
    rule, wildcards = " rule_train_", f"_{training.replace('fold_', '')}"
    (job,) = (line for line in listed.splitlines() if rule in line and line.endswith(wildcards))
    return Job(job.split()[0], training)


def trainer_of(weights: Path) -> psutil.Process:
    """The process that is to write this file."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words, folder = process.info["cmdline"] or [], process.info["cwd"]
        if "train" in words and any(Path(folder, word) == weights for word in words):
            return process
    raise AssertionError(f"no process trains {weights}")


def command(snakefile: Path, folder: Path, *options: str) -> list[str]:
    """A call as a user makes it, with a site sheet filled in for this cluster."""
    sheet = yaml.safe_load((PROFILE / "profile.yaml").read_text())
    sheet["slurm-init-seconds-before-status-checks"] = FIRST_LOOK_S
    sheet["default-resources"]["slurm_partition"] = PARTITION
    sheet["set-threads"] = {"train": 1, "predict_fold": 1}
    sheet["set-resources"]["train"] |= {"runtime": LIMIT, "gpu_model": GPU_TYPE}
    (folder / "site").mkdir()
    (folder / "site" / "profile.yaml").write_text(yaml.safe_dump(sheet))
    program = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile)]
    return [*program, "--workflow-profile", str(folder / "site"), *options]


@contextmanager
def started(experiment: Experiment, output: Path) -> Iterator[subprocess.Popen]:
    """The workflow, running beside the block; if that fails, its jobs are cancelled with it."""
    call = command(experiment.program / "Snakefile", experiment.folder, "--configfile", "config.yaml")
    environment = experiment.environment()
    with (
        output.open("w") as file,
        subprocess.Popen(
            call, cwd=experiment.folder, env=environment, stdout=file, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)


def disturb(run: subprocess.Popen, experiment: Experiment) -> dict[str, Job]:
    """Halt one training until its time is up, and cancel another, each once it has something to go on from."""

    def halt(job: Job) -> None:
        trainer_of(weights_of(experiment, job.training)).suspend()

    waiting: dict[str, Callable[[Job], None]] = {TIMED_OUT: halt, CANCELLED: Job.cancel}
    done = {}
    while waiting and run.poll() is None:
        for training in [name for name in waiting if checkpoints_of(experiment, name)]:
            done[training] = running(training)
            waiting.pop(training)(done[training])
        time.sleep(0.1)
    assert not waiting, f"ended before {', '.join(waiting)} could be disturbed"
    return done


def follow(run: subprocess.Popen, jobs: dict[str, Job]) -> dict[str, dict[str, str]]:
    """What became of the jobs; asked in time, because SLURM forgets."""
    ended = {}
    while run.poll() is None:
        for training in jobs.keys() - ended.keys():
            report = jobs[training].report()
            if report["JobState"] not in {"RUNNING", "COMPLETING"}:
                ended[training] = report
        time.sleep(0.5)
    return ended


def test_gpus_are_shared_out(cluster, tmp_path):
    """Each job waits for the other to begin, so that both hold a GPU at the same time."""
    snakefile = tmp_path / "Snakefile"
    snakefile.write_text(
        "rule all:\n    localrule: True\n    input: 'gpu0', 'gpu1'\n"
        "rule use:\n    output: 'gpu{number}'\n    resources: gpu=1\n"
        "    shell: 'touch began{wildcards.number}; until ls began0 began1; do sleep 0.2; done;"
        " echo $CUDA_VISIBLE_DEVICES > {output}'\n"
    )
    began = time.monotonic()
    environment = Experiment(tmp_path).environment()
    subprocess.run(command(snakefile, tmp_path), cwd=tmp_path, env=environment, check=True, timeout=300)
    assert sorted((tmp_path / f"gpu{number}").read_text().strip() for number in (0, 1)) == ["0", "1"]
    tell(f"\ncluster up in {cluster:.1f} s; two GPU jobs: {time.monotonic() - began:.0f} s")


def test_stopped_trainings_go_on_to_the_same_results(cluster, tmp_path):
    local = new_experiment(tmp_path / "local")
    local.configure(**SETTINGS)
    remote = local.copy(tmp_path / "remote")

    began = time.monotonic()
    local.finish("--resources", "gpu=2")
    tell(f"\nlocal run: {time.monotonic() - began:.0f} s")

    began = time.monotonic()
    output = tmp_path / "output.txt"
    with started(remote, output) as run:
        reports = follow(run, disturb(run, remote))
    said = output.read_text()
    assert run.returncode == 0, said
    tell(f"run on the cluster: {time.monotonic() - began:.0f} s")

    for training, state in ((TIMED_OUT, "TIMEOUT"), (CANCELLED, "CANCELLED")):
        assert reports[training]["JobState"] == state
        assert f"SLURM status is: '{state}'" in said, said
        resumed = re.search(r"resumed after epoch (\d+).*", log_of(remote, training).read_text())
        assert resumed is not None
        assert 1 <= int(resumed[1]) < SETTINGS["training"]["epochs"]
        tell(f"{training}: {state} after {reports[training]['RunTime']}, {resumed[0]}")
    assert_same_results(local.results, remote.results)


def assert_same_results(first: Path, second: Path) -> None:
    for pattern, content in (
        ("models/*/*/model.pt", tensors),
        ("models/*/*/training.csv", untimed),
        ("predictions/*/*/*.nii.gz", labels),
        ("final/*.nii.gz", labels),
        ("evaluation/*/*.json", unplaced),
        ("final/summary.json", unplaced),
        ("selection.json", unplaced),
        ("postprocessing.json", unplaced),
    ):
        files = sorted(file.relative_to(first) for file in first.glob(pattern))
        assert files, pattern
        assert files == sorted(file.relative_to(second) for file in second.glob(pattern))
        for file in files:
            assert content(first / file) == content(second / file), file


def tensors(file: Path) -> object:
    """A weights file with every tensor as its bits."""
    n_tensors = 0

    def bits(item: object) -> object:
        nonlocal n_tensors
        if isinstance(item, torch.Tensor):
            n_tensors += 1
            return str(item.dtype), tuple(item.shape), item.numpy().tobytes()
        return {key: bits(value) for key, value in item.items()} if isinstance(item, dict) else item

    content = bits(torch.load(file, weights_only=True))
    assert n_tensors
    return content


def untimed(file: Path) -> list[dict[str, str]]:
    """The rows of a training's history without the times."""
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        del row["seconds"]
    return rows


def labels(file: Path) -> tuple[bytes, object]:
    image = sitk.ReadImage(str(file))
    array = sitk.GetArrayFromImage(image)
    assert np.issubdtype(array.dtype, np.integer)
    return array.tobytes(), (image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def unplaced(file: Path) -> object:
    """A JSON file whose paths are cut down to the names of their files."""
    return json.loads(re.sub(r'"[^"]*/([^"/]+\.nii\.gz)"', r'"\1"', file.read_text()))
