"""Weights to begin with, in the workflow: their content decides, and neither their name nor their age."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from workflow_runs import TINY, Experiment

from segflow.commands.main import main
from segflow.storage.files import digest_of

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


@pytest.mark.timeout(600)
def test_content_and_nothing_else(tmp_path):
    experiment = Experiment(tmp_path)
    assert main(["phantom", str(experiment.dataset), "--cases", "5"]) == 0
    plain = {"folds": [0], "configurations": ["2d"]}
    experiment.configure(**plain)
    experiment.finish()
    trained = experiment.results / "models" / "2d" / "fold_0" / "model.pt"
    assert trained.with_name("progress.png").exists()
    scratch = digest_of(trained)
    shutil.copy(trained, tmp_path / "first.pt")

    def begin_with(file):
        experiment.configure(**plain, training={**TINY["training"], "pretrained": file})

    begin_with("first.pt")
    assert experiment.jobs()["train"] == 1
    tuned = digest_of(trained)
    assert tuned != scratch
    provenance = json.loads(trained.with_name("model.pt.provenance").read_text())
    assert provenance["inputs"]["first.pt"] == scratch

    os.utime(tmp_path / "first.pt")
    assert not experiment.jobs("--dry-run")
    (tmp_path / "first.pt").rename(tmp_path / "moved.pt")
    begin_with({"2d": "moved.pt", "3d_fullres": "moved.pt"})
    assert not experiment.jobs("--dry-run")

    shutil.copy(trained, tmp_path / "moved.pt")
    assert experiment.jobs("--dry-run")["train"] == 1
    begin_with("nowhere.pt")
    refused = experiment.run("--dry-run")
    assert refused.returncode != 0
    assert "'training.pretrained': there is no file nowhere.pt" in refused.stdout + refused.stderr
