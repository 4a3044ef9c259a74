"""The reference that the site is built with has every verb, option, key and value."""

from __future__ import annotations

import sys

from segflow.commands.main import COMMANDS
from segflow.recipes.recipe import SECTIONS, Recipe
from segflow.workflow.config import WorkflowConfig


def test_the_reference_is_complete(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(repository / "docs")])
    import reference_pages  # noqa: PLC0415  of the site, not of the package

    reference_pages.write(tmp_path / "pages")
    pages = {file.stem: file.read_text() for file in (tmp_path / "pages").glob("*.md")}
    for verb in COMMANDS:
        assert f"\n## segflow {verb}\n" in pages["command-line"]
    assert "* `--gpus INT`: Trainings that run side by side" in pages["command-line"]
    assert "--hold-gpus INT" not in pages["command-line"]
    for key in WorkflowConfig.model_fields:
        assert f"\n| `{key}` | " in pages["configuration"] or f"\n## {key}\n" in pages["configuration"]
    for section in SECTIONS:
        for key in type(getattr(Recipe(name="any"), section)).model_fields:
            assert f"\n| `{section}.{key}` | `" in pages["recipe"]
    assert "| `training.epochs` | `1000` | Length of training." in pages["recipe"]
    assert "automodule:: segflow.prediction.predictor\n   :members:" in pages["prediction"]
    for name, text in pages.items():
        assert "` |  |" not in text, f"{name}: a key without a meaning"
