"""A small experiment, run once or not at all; its helpers lie in `workflow_runs`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from foreseen import BASE
from workflow_runs import Experiment, new_experiment


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """Six phantom cases, configured but not run."""
    made = new_experiment(tmp_path)
    made.configure()
    return made


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory) -> Experiment:
    """An experiment with all its results, made once for all processes of a test run; see `finished`."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "finished"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "said.txt").exists():
            shutil.rmtree(folder, ignore_errors=True)
            made = new_experiment(folder)
            made.configure(**BASE)
            (folder / "said.txt").write_text(made.finish())
    return Experiment(folder)


@pytest.fixture
def finished(finished_once, tmp_path) -> Experiment:
    """A copy of an experiment with all its results; `said.txt` holds what the run printed."""
    return finished_once.copy(tmp_path / "finished")
