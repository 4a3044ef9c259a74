"""Dates of the user's files decide nothing but when to look again."""

from __future__ import annotations

import json
import os
import time

import pytest
from foreseen import BASE
from workflow_runs import new_experiment

pytestmark = pytest.mark.workflow

#: The data set's folds are read by `folds`, a raw image and a label map by `check`.
FILES = (
    "data/imagesTr/phantom_001_0000.nii.gz",
    "data/labelsTr/phantom_004.nii.gz",
    "data/splits_final.json",
)
TARGETS = (
    "results/data/check/chunk_0.json",
    "results/data/check/chunk_1.json",
    "results/data/splits_final.json",
)


@pytest.mark.slow
def test_files_from_the_future(tmp_path):
    """Also where a file is too large for Snakemake to digest it; and a change is noticed all the same."""
    experiment = new_experiment(tmp_path)
    names = [f"phantom_00{number}" for number in range(6)]
    folds = [{"train": names[1:], "val": names[:1]}, {"train": names[:1], "val": names[1:]}]
    (experiment.dataset / "splits_final.json").write_text(json.dumps(folds))
    experiment.configure(**BASE)
    ahead = time.time() + 1e6
    for name in FILES:
        os.utime(experiment.folder / name, (ahead, ahead))
    call = ("--max-checksum-file-size", "10", *TARGETS)
    assert set(experiment.jobs(*call)) == {"check", "folds"}
    assert not experiment.jobs("--dry-run", *call)
    now = time.time() + 1
    for name in FILES:
        os.utime(experiment.folder / name, (now, now))
    time.sleep(1.5)
    assert experiment.jobs("--dry-run", *call) == {"check": 2, "folds": 1}
