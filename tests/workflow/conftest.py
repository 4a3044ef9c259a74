"""A small experiment; its helpers lie in `workflow_runs`."""

from __future__ import annotations

from pathlib import Path

import pytest
from workflow_runs import Experiment

from segflow.commands.main import main


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """Six phantom cases, configured but not run."""
    made = Experiment(tmp_path)
    assert main(["phantom", str(made.dataset), "--cases", "6"]) == 0
    made.configure()
    return made
