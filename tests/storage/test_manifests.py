"""Prepared cases, summed up over chunks; label maps of a folder."""

from __future__ import annotations

import json

import pytest

from segflow.contracts.artefacts import Manifest
from segflow.contracts.errors import PlanError
from segflow.storage.files import write_text
from segflow.storage.manifests import list_label_maps, read_prepared, write_prepared

CHUNKS = ({"a": "1", "d": "4"}, {}, {"b": "2", "c": "3"})


def write_chunks(folder, chunks=CHUNKS):
    files = [folder / "manifest" / f"chunk_{number}.json" for number in range(len(chunks))]
    for file, cases in zip(files, chunks, strict=True):
        write_text(file, Manifest(cases=cases).to_json())
    return files


def test_round_trip(tmp_path):
    write_prepared(tmp_path / "prepared.json", write_chunks(tmp_path))
    assert read_prepared(tmp_path / "prepared.json") == {"a": "1", "b": "2", "c": "3", "d": "4"}
    assert json.loads((tmp_path / "prepared.json").read_text())["cases"] == 4


def test_the_sum_may_be_moved_with_its_chunks(tmp_path):
    write_prepared(tmp_path / "here" / "prepared.json", write_chunks(tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "there")
    assert len(read_prepared(tmp_path / "there" / "prepared.json")) == 4


def test_the_order_of_the_chunks_does_not_matter(tmp_path):
    files = write_chunks(tmp_path)
    write_prepared(tmp_path / "one.json", files)
    write_prepared(tmp_path / "two.json", files[::-1])
    assert (tmp_path / "one.json").read_text() == (tmp_path / "two.json").read_text()


@pytest.mark.parametrize("cases", [{"b": "2", "c": "0"}, {"b": "2"}, {"b": "2", "c": "3", "e": "5"}])
def test_the_sum_changes_with_any_case(cases, tmp_path):
    write_prepared(tmp_path / "prepared.json", write_chunks(tmp_path))
    before = (tmp_path / "prepared.json").read_text()
    write_prepared(tmp_path / "prepared.json", write_chunks(tmp_path, (*CHUNKS[:2], cases)))
    assert (tmp_path / "prepared.json").read_text() != before


def test_a_changed_chunk_is_refused(tmp_path):
    files = write_chunks(tmp_path)
    write_prepared(tmp_path / "prepared.json", files)
    write_text(files[2], Manifest(cases={"b": "2", "c": "0"}).to_json())
    with pytest.raises(PlanError, match=r"chunk_2\.json is not the file that .*prepared\.json was made from"):
        read_prepared(tmp_path / "prepared.json")


def test_a_missing_chunk_is_refused(tmp_path):
    files = write_chunks(tmp_path)
    write_prepared(tmp_path / "prepared.json", files)
    files[0].unlink()
    with pytest.raises(PlanError, match=r"chunk_0\.json is not the file .* run the workflow again"):
        read_prepared(tmp_path / "prepared.json")


def test_a_missing_sum(tmp_path):
    with pytest.raises(PlanError, match=r"prepared\.json does not exist"):
        read_prepared(tmp_path / "prepared.json")


def test_label_maps_without_a_manifest_are_all_of_a_kind(tmp_path):
    """But none that somebody is writing, or was killed at."""
    assert list_label_maps(tmp_path, ".nii.gz") == []
    for name in ("b.nii.gz", "a.nii.gz", "a.txt", ".123.c.nii.gz"):
        (tmp_path / name).touch()
    assert [file.name for file in list_label_maps(tmp_path, ".nii.gz")] == ["a.nii.gz", "b.nii.gz"]


def test_a_manifest_leaves_out_label_maps_of_an_earlier_run(tmp_path):
    for name in ("a.nii.gz", "stale.nii.gz"):
        (tmp_path / name).touch()
    (tmp_path / "manifest.json").write_text(Manifest(cases={"a": "0"}).to_json())
    assert list_label_maps(tmp_path, ".nii.gz") == [tmp_path / "a.nii.gz"]
