"""Pretrained weights in the workflow: their content decides, and neither their name nor their age."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from foreseen import BASE
from workflow_runs import TINY

from segflow.storage.files import digest_of

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def test_content_and_nothing_else(finished):
    def begin_with(file):
        finished.configure(**BASE, training={**TINY["training"], "pretrained": file})

    trained = finished.results / "models" / "2d" / "fold_0" / "model.pt"
    assert trained.with_name("progress.png").exists()
    scratch = digest_of(trained)
    first, moved = finished.folder / "first.pt", finished.folder / "moved.pt"
    shutil.copy(trained, first)
    begin_with({"2d": "first.pt"})
    assert finished.jobs()["train"] == 1
    assert digest_of(trained) != scratch
    provenance = json.loads(trained.with_name("model.pt.provenance").read_text())
    assert provenance["inputs"]["first.pt"] == scratch

    os.utime(first)
    assert not finished.jobs("--dry-run")
    first.rename(moved)
    begin_with({"2d": "moved.pt"})
    assert not finished.jobs("--dry-run")

    shutil.copy(trained, moved)
    assert finished.jobs("--dry-run")["train"] == 1
