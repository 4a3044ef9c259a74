"""Manifests of prepared cases, per chunk and in total, and the label maps of a folder."""

from __future__ import annotations

import json

import pytest

from segflow.contracts.artefacts import Manifest
from segflow.contracts.errors import PlanError, PredictionError
from segflow.storage.files import write_text
from segflow.storage.manifests import digests_of_cases, list_label_maps, read_prepared, write_prepared

CHUNKS = ({"a": "1", "d": "4"}, {}, {"b": "2", "c": "3"})


def write_chunks(folder, chunks=CHUNKS):
    files = [folder / "manifest" / f"chunk_{number}.json" for number in range(len(chunks))]
    for file, cases in zip(files, chunks, strict=True):
        write_text(file, Manifest(cases=cases).to_json())
    return files


def test_chunks_are_read_back_in_total_also_when_moved(tmp_path):
    write_prepared(tmp_path / "here" / "prepared.json", write_chunks(tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "there")
    file = tmp_path / "there" / "prepared.json"
    assert read_prepared(file) == {"a": "1", "b": "2", "c": "3", "d": "4"}
    assert json.loads(file.read_text())["cases"] == 4


def test_the_order_of_the_chunks_does_not_matter(tmp_path):
    files = write_chunks(tmp_path)
    write_prepared(tmp_path / "one.json", files)
    write_prepared(tmp_path / "two.json", files[::-1])
    assert (tmp_path / "one.json").read_text() == (tmp_path / "two.json").read_text()


@pytest.mark.parametrize("cases", [{"b": "2", "c": "0"}, {"b": "2"}, {"b": "2", "c": "3", "e": "5"}])
def test_a_changed_case_changes_the_total_and_makes_the_old_one_invalid(cases, tmp_path):
    file = tmp_path / "prepared.json"
    write_prepared(file, write_chunks(tmp_path))
    before = file.read_text()
    files = write_chunks(tmp_path, (*CHUNKS[:2], cases))
    with pytest.raises(PlanError, match=r"chunk_2\.json is not the file that .*prepared\.json was made from"):
        read_prepared(file)
    write_prepared(file, files)
    assert file.read_text() != before


def test_a_case_without_labels_of_the_previous_stage_is_named(tmp_path):
    write_prepared(tmp_path / "prepared.json", write_chunks(tmp_path))
    write_text(tmp_path / "labels.json", Manifest(cases={"a": "5"}).to_json())
    assert digests_of_cases(["a"], tmp_path / "prepared.json", tmp_path / "labels.json") == {"a": "15"}
    with pytest.raises(
        PlanError, match=r"case b has no labels of the previous stage \(.*labels\.json\); hold it out"
    ):
        digests_of_cases(["a", "b"], tmp_path / "prepared.json", tmp_path / "labels.json")
    with pytest.raises(PlanError, match="case x is in the folds, but has not been prepared"):
        digests_of_cases(["x"], tmp_path / "prepared.json", None)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PlanError, match=r"prepared\.json does not exist"):
        read_prepared(tmp_path / "prepared.json")
    files = write_chunks(tmp_path)
    write_prepared(tmp_path / "prepared.json", files)
    files[0].unlink()
    with pytest.raises(PlanError, match=r"chunk_0\.json is not the file .* run the workflow again"):
        read_prepared(tmp_path / "prepared.json")


def test_label_maps_are_those_of_the_manifest_or_else_all_that_are_finished(tmp_path):
    with pytest.raises(PredictionError, match=r"there are no label maps \(\*\.nii\.gz\)"):
        list_label_maps([tmp_path], ".nii.gz")
    for name in ("b.nii.gz", "a.nii.gz", "a.txt", ".123.c.nii.gz"):
        (tmp_path / name).touch()
    assert [file.name for file in list_label_maps([tmp_path], ".nii.gz")] == ["a.nii.gz", "b.nii.gz"]
    (tmp_path / "manifest.json").write_text(Manifest(cases={"a": "0"}).to_json())
    assert list_label_maps([tmp_path], ".nii.gz") == [tmp_path / "a.nii.gz"]
    with pytest.raises(PredictionError, match=r"a\.nii\.gz is there 2 times"):
        list_label_maps([tmp_path, tmp_path], ".nii.gz")
    (tmp_path / "manifest.json").write_text(Manifest(cases={}).to_json())
    assert list_label_maps([tmp_path], ".nii.gz") == []  # as where all cases are trained on
