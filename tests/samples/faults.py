"""Stages that are struck while they run, and what a run must come to all the same: the results of one left alone."""

from __future__ import annotations

import csv
import hashlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import psutil
from foreseen import BASE
from workflow_runs import TINY, Experiment, new_experiment

#: Every stage of the workflow, by verb, and what it has made: without that, the next call runs it. What only other
#: stages read is made again only if these have to run, too.
STAGES = {
    "check": "check",
    "fingerprint": "*fingerprint*",
    "plan": "plans",
    "folds": "splits_final.json",
    "preprocess": "preprocessed nnunet",
    "manifest": "preprocessed/*/*/prepared.json nnunet",
    "train": "nnunet/models",
    "predict-fold": "nnunet/predictions/2d",
    "ensemble": "nnunet/predictions/2d+3d_fullres",
    "evaluate": "nnunet/evaluation",
    "crossvalidate": "nnunet/evaluation/*/summary.*",
    "select": "nnunet/selection.json",
    "postprocess-search": "nnunet/postprocessing.json",
    "postprocess": "nnunet/final",
    "assess": "nnunet/assessment.json",
    "package": "nnunet/model",
    "score-fast": "nnunet/fast.json",
    "report": "nnunet/report*",
    "compare": "../comparison*",
}
#: When a stage is in the middle of its work; the others may be struck at any time.
SIGNS = {"preprocess": "preprocessed/*/2d/phantom_*.json", "train": "nnunet/work/*/*/checkpoint.pt"}
SIGNALS = {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM, "SIGKILL": signal.SIGKILL}
#: What is struck: a job, the call of Snakemake, or both; or one of the processes that a job has started.
TARGETS = ("job", "snakemake", "both")
#: Long enough to be caught in the act.
TRAINING = {**TINY["training"], "epochs": 8, "iterations": 8}
LIMIT_S = 120.0


def undisturbed_experiment(folder: Path, **changes: object) -> Experiment:
    """An experiment with all its results: two configurations, unless something else is asked for."""
    made = new_experiment(folder)
    made.configure(**BASE, training=TRAINING, resources={"workers": 0, "threads": 1}, **changes)
    made.finish()
    return made


def outcome(experiment: Experiment) -> dict[str, str]:
    """Digest of every artefact; of histories, all but the time."""
    found = {}
    for file in sorted(experiment.shared.rglob("*")):
        name = str(file.relative_to(experiment.shared))
        if file.suffix in {".json", ".npy", ".npz", ".gz", ".pt"}:
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        elif file.name == "training.csv":
            with file.open() as rows:
                kept = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(rows)]
            found[name] = repr(kept)
    return found


def remove(experiment: Experiment, patterns: str) -> None:
    """Remove results."""
    for pattern in patterns.split():
        found = list(experiment.shared.glob(pattern))
        assert found, pattern
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def wait_for(condition: Callable[[], Any], *, what: str, every_s: float = 0.005) -> Any:
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(every_s)
    raise AssertionError(f"no sign of {what}")


def jobs_of(call: psutil.Process, verb: str = "") -> list[psutil.Process]:
    """The processes of a call's jobs, without those that they start."""
    found = []
    for child in call.children(recursive=True):
        try:
            words = child.cmdline()
            if "--job" in words and verb in {"", *words} and "--job" not in child.parent().cmdline():
                found.append(child)
        except (psutil.NoSuchProcess, AttributeError):
            continue
    return found


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


def strike(experiment: Experiment, verb: str, target: str, number: int) -> bool:
    """Start the workflow and send the signal in the middle of a job; whether the call then failed."""
    with experiment.start("--quiet", "all") as process:
        call = psutil.Process(process.pid)
        (job, *_) = wait_for(lambda: jobs_of(call, verb), what=f"a job of {verb}")
        sign = SIGNS.get(verb)
        if sign is not None:
            wait_for(
                lambda: any(experiment.shared.glob(sign)) or not job.is_running(), what=f"{verb} under way"
            )
        for struck in {"job": [job], "snakemake": [call], "both": [call, job]}[target]:
            if struck.is_running():
                struck.send_signal(number)
        process.communicate(timeout=LIMIT_S)
        failed = process.returncode != 0
    wait_for(lambda: not processes_in(experiment.folder), what="orphans to end", every_s=0.2)
    return failed


def strike_at_random(experiment: Experiment, random: Random, longest_s: float) -> str:
    """Start the workflow and strike something at a random moment; what, or "" if the call was done before.

    The next call may come at once, while jobs of this one are still about to end.
    """
    with (experiment.folder / "said.txt").open("w") as said:
        process = experiment.start("--quiet", "all", output=said)
    try:
        process.wait(random.uniform(0, longest_s))
    except subprocess.TimeoutExpired:
        call = psutil.Process(process.pid)
        jobs = jobs_of(call)
        workers = [child for job in jobs for child in job.children(recursive=True)]
        target = random.choice([*TARGETS, "worker"])
        name = random.choice(list(SIGNALS))
        struck = {"job": jobs[:1], "snakemake": [call], "both": [call, *jobs], "worker": workers[:1]}[target]
        for one in struck or [call]:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(SIGNALS[name])
        try:
            process.wait(5 * LIMIT_S)  # what does not depend on the job goes on
        except subprocess.TimeoutExpired:
            # Snakemake 9 waits for a lock that it holds itself if SIGTERM comes while it ends a job.
            assert name == "SIGTERM"
            assert not call.children()
            process.kill()
            process.wait(LIMIT_S)
        return f"{name} to {target}, {len(jobs)} jobs"
    else:
        assert process.returncode == 0, (experiment.folder / "said.txt").read_text()
        return ""
