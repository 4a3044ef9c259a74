"""nnU-Net's Python, one data set at a time through both programs, and a table of how far results differ."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from nnunet_data import DATA_SETS, parameter
from nnunet_runs import Both, NnUNet

VARIABLE = "SEGFLOW_PEER_PYTHON"
DIFFERENCES = pytest.StashKey[dict[str, str]]()


@pytest.fixture(scope="session")
def nnunet():
    """nnU-Net; without it the test is skipped."""
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(f"{VARIABLE} does not name the Python of an environment with nnunetv2")
    if subprocess.run([python, "-c", "import nnunetv2"], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"{python}, which {VARIABLE} names, has no nnunetv2")
    return NnUNet(python)


@pytest.fixture(scope="session")
def both_of(nnunet, request, tmp_path_factory):
    """Builds a data set in a folder of its own."""

    def build(data):
        shared = request.getfixturevalue("shared") if data.real else None
        return Both(data, tmp_path_factory.mktemp(data.name), nnunet, shared)

    return build


@pytest.fixture(scope="session", params=[parameter(data) for data in DATA_SETS])
def both(both_of, request):
    """A data set for both programs."""
    built = both_of(request.param)
    yield built
    shutil.rmtree(built.folder)


@pytest.fixture
def note_difference(request):
    """Adds a line to the table at the end."""
    return request.config.stash.setdefault(DIFFERENCES, {}).__setitem__


def pytest_terminal_summary(terminalreporter, config):
    """How far images, logits, gradients and losses differ."""
    differences = config.stash.get(DIFFERENCES, {})
    if differences:
        terminalreporter.section("largest difference from nnU-Net")
        for name, text in differences.items():
            terminalreporter.write_line(f"{name:40}{text}")
