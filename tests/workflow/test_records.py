"""Snakemake's records, kept beside the results."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from segflow.workflow.records import keep_records, recover_records


def record(folder: Path, result: str, content: str) -> Path:
    """A record as Snakemake names it; long names are broken into folders."""
    name = base64.urlsafe_b64encode(result.encode()).decode()
    parts = [name[start : start + 20] for start in range(0, len(name), 20)]
    file = folder.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def contents(folder: Path) -> set[str]:
    return {file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def live(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".snakemake" / "metadata"
    record(folder, "results/a.json", "a")
    record(folder, "results/models/a/very/long/name/that/is/broken/model.pt", "model")
    record(folder, "elsewhere/b.json", "of others")
    return folder


def test_kept_and_recovered(live):
    results = Path("results")
    keep_records(results, live=live)
    assert contents(results / "records") == {"a", "model"}
    before = {
        file.relative_to(live)
        for file in live.rglob("*")
        if file.is_file() and file.read_text() != "of others"
    }
    for file in [file for file in live.rglob("*") if file.is_file()]:
        file.unlink()
    assert recover_records(results, live=live)
    assert {file.relative_to(live) for file in live.rglob("*") if file.is_file()} == before
    assert contents(live) == {"a", "model"}


def test_records_that_are_there_are_left_alone(live):
    keep_records(Path("results"), live=live)
    record(live, "results/a.json", "newer")
    assert not recover_records(Path("results"), live=live)
    assert "newer" in contents(live)


def test_what_is_kept_is_replaced_as_a_whole(live):
    keep_records(Path("results"), live=live)
    record(live, "results/a.json", "newer")
    keep_records(Path("results"), live=live)
    assert contents(Path("results/records")) == {"newer", "model"}


def test_nothing_to_recover(tmp_path):
    assert not recover_records(tmp_path, live=tmp_path / "metadata")
