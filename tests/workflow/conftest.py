"""A small experiment; its helpers lie in `workflow_runs`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from segflow.commands.main import main

sys.path.insert(0, str(Path(__file__).parent))

from workflow_runs import Experiment


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """Six phantom cases, configured but not run."""
    made = Experiment(tmp_path)
    assert main(["phantom", str(made.dataset), "--cases", "6"]) == 0
    made.configure()
    return made
