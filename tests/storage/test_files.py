"""Files are whole or absent."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

import segflow
from segflow.contracts.errors import DatasetError, PlanError
from segflow.contracts.plan import Fold
from segflow.storage.files import (
    digest_of,
    key_of,
    read_contract,
    read_json,
    versions,
    write_atomically,
    write_json,
    write_text,
)


def fail_halfway(temporary):
    temporary.write_text("half")
    raise OSError("disk full")


def test_written_under_the_final_name_alone(tmp_path):
    seen = []

    def write(temporary):
        seen.append(temporary)
        temporary.write_text("content")
        assert not (tmp_path / "new" / "a.nii.gz").exists()

    write_atomically(tmp_path / "new" / "a.nii.gz", write)
    assert (tmp_path / "new" / "a.nii.gz").read_text() == "content"
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "a.nii.gz"]
    assert seen[0].name.endswith(".nii.gz")


def test_a_failing_writer_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="disk full"):
        write_atomically(tmp_path / "a.txt", fail_halfway)
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_survives_a_failing_writer(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(OSError, match="disk full"):
        write_atomically(tmp_path / "a.txt", fail_halfway)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_a_writer_that_writes_nothing_fails(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "a.txt", lambda _: None)


def test_json_round_trip(tmp_path):
    data = {"a": [1, 2.5, None], "b": "ü"}
    write_json(tmp_path / "a.json", data)
    assert (tmp_path / "a.json").read_text() == json.dumps(data, indent=2) + "\n"
    assert read_json(tmp_path / "a.json", error=PlanError) == data


def test_missing_json(tmp_path):
    with pytest.raises(DatasetError, match=r"a\.json does not exist"):
        read_json(tmp_path / "a.json", error=DatasetError)


@pytest.mark.parametrize("content", [b"{", b"", b"{'a': 1}", b"\xff\xfe\x00"])
def test_broken_json(content, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(PlanError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json", error=PlanError)


def test_contract_round_trip(tmp_path):
    fold = Fold(train=("a", "b"), val=("c",))
    write_text(tmp_path / "fold.json", fold.to_json())
    assert read_contract(Fold, tmp_path / "fold.json") == fold


def test_broken_contract_names_the_file(tmp_path):
    write_json(tmp_path / "fold.json", {"train": ["a"]})
    with pytest.raises(PlanError, match=r"fold\.json: 'val': Field required"):
        read_contract(Fold, tmp_path / "fold.json")


@pytest.mark.parametrize("size", [0, 10, (1 << 20) + 1])
def test_digest(size, tmp_path):
    content = b"x" * size
    (tmp_path / "a").write_bytes(content)
    assert digest_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_other_parts_another_key():
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
    assert found["segflow"] == segflow.__version__
    assert found["numpy"] == np.__version__
