"""Calls of Snakemake that share its start: each runs in a fork of one process that has imported it."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

from job_server import shared_jobs

_FORKS = multiprocessing.get_context("forkserver")
#: With what Snakemake imports late, and what the workflow does.
_FORKS.set_forkserver_preload([
    "snakemake.cli", "snakemake.report", "snakemake.storage", "snakemake.profiles", "smart_open",
    "SimpleITK", "scipy.ndimage", "segflow.workflow.config", "segflow.workflow.datasets", "segflow.workflow.ending",
    "segflow.workflow.recipes", "segflow.workflow.snakemake", "shared_code", "frozen",
])  # fmt: skip
_TIMEOUT_S = 580


def call_snakemake(
    words: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> CompletedProcess[str]:
    """As `python -m snakemake WORDS` in a folder; `stdout` holds all that it prints."""
    with TemporaryDirectory() as place:
        output = Path(place, "output")
        python = str(shared_jobs().python)
        process = _FORKS.Process(target=_run, args=(python, list(words), folder, dict(environment), output))
        process.start()
        process.join(_TIMEOUT_S)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(output.read_text())
        return CompletedProcess(words, process.exitcode, output.read_text())


def _run(python: str, words: list[str], folder: Path, environment: dict[str, str], output: Path) -> None:
    with output.open("w") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.executable = python  # beside which the workflow finds `segflow`
    sys.argv = ["snakemake", *words]
    from shared_code import use  # noqa: PLC0415  not in the process that asks for the call
    from snakemake.cli import main  # noqa: PLC0415

    use(environment["PYTHONPATH"])
    main(words)
