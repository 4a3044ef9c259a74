"""Golden vectors say where they come from, and stay small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parent.glob("*.json"))
MOST_BYTES = 100_000


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_golden_file_has_a_pedigree(file):
    header = json.loads(file.read_text())["header"]
    assert all(header[key] for key in ("what", "source", "program"))
    assert file.stat().st_size < MOST_BYTES
