"""A folder of results is complete or absent, and replaces nothing that is the user's."""

from __future__ import annotations

import pytest

from segflow.contracts.errors import ConfigurationError
from segflow.storage.folders import write_folder


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_folder_replaces_the_one_that_was_written_so_before(tmp_path):
    folder = tmp_path / "new" / "report"
    write_folder(folder, {"a/b.csv": "ä\n", "old.txt": "old"})
    write_folder(folder, {"a/b.csv": "ä\n", "c.png": b"\x89"})
    assert contents(tmp_path) == {"new/report/a/b.csv": "ä\n".encode(), "new/report/c.png": b"\x89"}


def test_a_failure_leaves_what_was_there(tmp_path):
    write_folder(tmp_path / "report", {"a": "old"})
    with pytest.raises(FileExistsError):
        write_folder(tmp_path / "report", {"a": "new", "a/b": "below a file"})
    assert contents(tmp_path) == {"report/a": b"old"}


def test_files_from_elsewhere_are_kept(tmp_path):
    write_folder(tmp_path / "docs", {"mine.txt": "precious"})
    with pytest.raises(ConfigurationError, match="docs would be replaced"):
        write_folder(tmp_path / "docs", {"a": "new"})
    assert contents(tmp_path) == {"docs/mine.txt": b"precious"}
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".snakemake_timestamp").touch()
    write_folder(tmp_path / "empty", {"a": "new"})
    assert contents(tmp_path / "empty") == {"a": b"new"}
