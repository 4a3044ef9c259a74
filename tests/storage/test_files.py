"""Files are complete or absent, read with clear errors, and compared by digests."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import segflow
from segflow.contracts.errors import DatasetError, PlanError
from segflow.contracts.plan import Fold
from segflow.storage.files import (
    digest_of,
    key_of,
    open_atomically,
    read_contract,
    read_json,
    temporary_folder,
    versions,
    write_array,
    write_json,
    write_text,
)


def fail_halfway(file):
    with open_atomically(file) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")


def test_a_file_appears_complete_under_its_final_name(tmp_path):
    file = tmp_path / "new" / "a.nii.gz"
    with open_atomically(file) as temporary:
        temporary.write_text("content")
        assert not file.exists()
    assert file.read_text() == "content"
    assert list(file.parent.iterdir()) == [file]
    assert temporary.name.endswith(".nii.gz")
    assert temporary.name.startswith(".")


@pytest.mark.parametrize("before", [[], ["a.txt"]])
def test_a_failing_writer_changes_nothing(before, tmp_path):
    for name in before:
        write_text(tmp_path / name, "old")
    with pytest.raises(OSError, match="disk full"):
        fail_halfway(tmp_path / "a.txt")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == dict.fromkeys(before, "old")


def test_a_writer_that_writes_nothing_fails(tmp_path):
    with pytest.raises(FileNotFoundError), open_atomically(tmp_path / "a.txt"):
        pass


KILLED = """
import os, signal, sys
from pathlib import Path
from segflow.storage.files import open_atomically, temporary_folder
with temporary_folder(Path(sys.argv[1])) as folder, open_atomically(Path(sys.argv[1], "a.txt")) as file:
    for half in (file, folder / "b"):
        half.touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_and_what_others_write_stays(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    left = sorted(file.name for file in tmp_path.iterdir())
    assert len(left) == 2
    here = left[0].partition("-")[0]
    at_work, of_another_host = f"{here}-{os.getppid()}.a.txt", ".0123abcd-1.a.txt"
    others = {at_work, of_another_host, ".a.txt"}
    for name in others:
        (tmp_path / name).touch()
    with temporary_folder(tmp_path) as folder:
        write_text(tmp_path / "a.txt", "whole")
        assert {file.name for file in tmp_path.iterdir()} == {*others, "a.txt", folder.name}


def test_json_round_trip(tmp_path):
    data = {"a": [1, 2.5, None], "b": "ü"}
    write_json(tmp_path / "a.json", data)
    assert (tmp_path / "a.json").read_text() == json.dumps(data, indent=2) + "\n"
    assert read_json(tmp_path / "a.json", error=PlanError) == data


@pytest.mark.parametrize("content", [None, b"{", b"", b"{'a': 1}", b"\xff\xfe\x00", b'["\\ud800"]'])
def test_missing_and_broken_json(content, tmp_path):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    message = r"a\.json does not exist" if content is None else r"a\.json is not valid JSON"
    with pytest.raises(DatasetError, match=message):
        read_json(tmp_path / "a.json", error=DatasetError)


def test_a_contract_is_read_back_and_a_broken_one_named_with_its_file(tmp_path):
    fold = Fold(train=("a", "b"), val=("c",))
    write_text(tmp_path / "fold.json", fold.to_json())
    assert read_contract(Fold, tmp_path / "fold.json") == fold
    write_json(tmp_path / "fold.json", {"train": ["a"]})
    with pytest.raises(PlanError, match=r"fold\.json: 'val': Field required"):
        read_contract(Fold, tmp_path / "fold.json")


def test_equal_arrays_give_equal_files_whatever_their_layout(tmp_path):
    array = np.random.default_rng(0).normal(size=(3, 4, 5))
    for name, layout in (("c", np.ascontiguousarray), ("f", np.asfortranarray)):
        write_array(tmp_path / f"{name}.npy", layout(array))
    np.testing.assert_array_equal(np.load(tmp_path / "f.npy"), array)
    assert digest_of(tmp_path / "c.npy") == digest_of(tmp_path / "f.npy")


@pytest.mark.parametrize("size", [0, 10, (1 << 20) + 1])
def test_digest(size, tmp_path):
    content = b"x" * size
    (tmp_path / "a").write_bytes(content)
    assert digest_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_different_parts_give_different_keys():
    parts = [
        (),
        ("",),
        ("", ""),
        ("ab",),
        ("a", "b"),
        ("b", "a"),
        ('a", "b',),
        ("a\nb",),
        ("ä",),
        ("a", "b", ""),
    ]
    assert len({key_of(*these) for these in parts}) == len(parts)
    assert key_of("a", "b") == key_of("a", "b")
    assert len(key_of("a")) == 64


def test_versions():
    found = versions()
    assert list(found)[:2] == ["segflow", "python"]
    assert (found["segflow"], found["numpy"]) == (segflow.__version__, np.__version__)
