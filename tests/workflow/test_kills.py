"""Killed in any way, the next plain call finishes, with results that are identical to the bit."""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest
from foreseen import BASE
from workflow_runs import TINY, Experiment

pytestmark = pytest.mark.workflow

SIGNALS = {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM, "SIGKILL": signal.SIGKILL}
TARGETS = ("job", "snakemake", "both")
#: The row that a short run of the tests keeps.
QUICK = ("train", "SIGKILL", "both")
#: Long enough to be caught in the act.
TRAINING = {**TINY["training"], "epochs": 8, "iterations": 8}
ONE_THREAD = {"workers": 0, "threads": 1}
LIMIT_S = 120.0


@pytest.fixture(scope="module")
def undisturbed(finished_once, tmp_path_factory) -> Experiment:
    """One configuration with all its results, on the cases of the finished experiment."""
    made = finished_once.copy(tmp_path_factory.mktemp("undisturbed") / "experiment")
    shutil.rmtree(made.results)
    shutil.rmtree(made.shared / "preprocessed" / "nnUNetPlans" / "3d_fullres")
    made.configure(**BASE, configurations=["2d"], training=TRAINING, resources=ONE_THREAD)
    made.finish()
    return made


def outcome(experiment: Experiment) -> dict[str, str]:
    """Digest of every artefact; of histories, all but the time."""
    found = {}
    for file in sorted(experiment.shared.rglob("*")):
        name = str(file.relative_to(experiment.shared))
        if file.suffix in {".json", ".npy", ".npz", ".gz", ".pt"} and name != "nnunet/model/model.json":
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        elif file.name == "training.csv":
            with file.open() as rows:
                kept = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(rows)]
            found[name] = repr(kept)
    return found


def wait_for(condition, *, what: str, every_s: float = 0.005):
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(every_s)
    raise AssertionError(f"no sign of {what}")


def job_of(snakemake: psutil.Process, verb: str) -> psutil.Process | None:
    for child in snakemake.children(recursive=True):
        try:
            if verb in child.cmdline() and "--job" in child.cmdline():
                return child
        except psutil.NoSuchProcess:
            continue
    return None


def processes_in(folder: Path) -> list[psutil.Process]:
    """Processes at work in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == folder and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def under_way(experiment: Experiment, verb: str) -> bool:
    """Training: a checkpoint is there. Preprocessing: a case is stored."""
    if verb == "train":
        return any(experiment.results.glob("work/*/*/checkpoint.pt"))
    return any(experiment.shared.glob("preprocessed/*/2d/phantom_*.json"))


def strike(experiment: Experiment, verb: str, target: str, number: int) -> bool:
    """Start the workflow and send the signal in the middle of a job; whether the call then failed."""
    with experiment.start("--quiet", "all") as process:
        snakemake = psutil.Process(process.pid)
        job = wait_for(lambda: job_of(snakemake, verb), what=f"a job of {verb}")
        wait_for(lambda: under_way(experiment, verb) or not job.is_running(), what=f"{verb} under way")
        targets = {"job": [job], "snakemake": [snakemake], "both": [snakemake, job]}[target]
        for struck in targets:
            if struck.is_running():
                struck.send_signal(number)
        process.communicate(timeout=LIMIT_S)
        failed = process.returncode != 0
    wait_for(lambda: not processes_in(experiment.folder), what="orphans to end", every_s=0.2)
    return failed


@pytest.mark.parametrize(
    ("verb", "name", "target"),
    [
        pytest.param(*row, marks=() if row == QUICK else pytest.mark.slow)
        for row in itertools.product(["train", "preprocess"], SIGNALS, TARGETS)
    ],
)
def test_killed(undisturbed, tmp_path, verb, name, target):
    experiment = undisturbed.copy(tmp_path / "experiment")
    shutil.rmtree(experiment.results)
    if verb == "preprocess":
        shutil.rmtree(experiment.shared / "preprocessed")
    failed = strike(experiment, verb, target, SIGNALS[name])
    if (name, target) != ("SIGTERM", "snakemake"):  # which lets its jobs finish
        assert failed
    left = any(experiment.results.glob("work/*/*/checkpoint.pt"))
    experiment.finish()
    assert outcome(experiment) == outcome(undisturbed)
    log = (experiment.results / "logs" / "train" / "2d_fold_0.log").read_text()
    if verb == "train" and left:
        assert "resumed after epoch" in log
    assert left == (verb == "train" and (name, target) != ("SIGTERM", "snakemake"))
    assert not list(experiment.results.glob("work/*/*/checkpoint.pt"))


@pytest.mark.slow
def test_two_calls_in_one_folder(undisturbed, tmp_path):
    experiment = undisturbed.copy(tmp_path / "experiment")
    shutil.rmtree(experiment.results)
    with experiment.start() as first:
        wait_for(lambda: under_way(experiment, "train"), what="training")
        assert "another call is at work in this folder" in experiment.fail()
        os.killpg(first.pid, signal.SIGINT)
        first.communicate(timeout=LIMIT_S)
    experiment.finish()
    assert outcome(experiment) == outcome(undisturbed)
