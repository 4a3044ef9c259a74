"""Listing a data set, and each way it can be wrong."""

from __future__ import annotations

import re

import pytest
from image_samples import FILES

from segflow.contracts.errors import DatasetError
from segflow.images.dataset import find_inputs, list_files, read_dataset, read_description, stray_labels


def test_sound(make):
    folder = make()
    found = read_dataset(folder)
    assert [case.identifier for case in found.cases] == ["a", "b"]
    case = found.cases[1]
    assert [file.name for file in case.images] == ["b_0000.nii.gz", "b_0001.nii.gz"]
    assert case.label == folder / "labelsTr" / "b.nii.gz"
    assert found.channel_names == ("T1", "T2")
    assert found.labels.values == (0, 1, 2)
    assert (found.n_declared, found.file_ending) == (2, ".nii.gz")
    assert found.name == folder.name
    assert found.folds_file is None


def test_other_files_are_left_alone(make):
    folder = make(files=(*FILES, "imagesTr/readme", "imagesTr/a_00001", "imagesTr/a_000"), name="MRI")
    (folder / "imagesTr" / "a_0000.nii").touch()
    (folder / "splits_final.json").write_text("[]")
    found = read_dataset(folder)
    assert len(found.cases) == 2
    assert found.name == "MRI"
    assert found.folds_file == folder / "splits_final.json"


def test_order_is_that_of_the_identifiers(make):
    names = ("b", "B", "a_10", "a_2")
    files = [f"{kind}/{name}" for name in names for kind in ("imagesTr", "labelsTr")]
    files = [f"{file}_0000" if file.startswith("images") else file for file in files]
    folder = make(files=files, channel_names={"0": "CT"}, numTraining=4)
    assert [case.identifier for case in read_dataset(folder).cases] == ["B", "a_10", "a_2", "b"]


def test_one_file_may_hold_all_channels(make):
    folder = make(
        files=("imagesTr/a_0000", "labelsTr/a"),
        ending=".png",
        file_ending=".png",
        numTraining=1,
        channel_names={"0": "R", "1": "G", "2": "B"},
    )
    assert [file.name for file in read_dataset(folder).cases[0].images] == ["a_0000.png"]


def test_old_name_of_channel_names(make):
    folder = make(without=["channel_names"], modality={"0": "T1", "1": "T2"})
    assert read_dataset(folder).channel_names == ("T1", "T2")


def test_listed_cases(make, monkeypatch):
    monkeypatch.setenv("SEGFLOW_TEST_PART", "imagesTr")
    mapping = {
        "second": {
            "images": ["imagesTr/b_0000.nii.gz", "imagesTr/b_0001.nii.gz"],
            "label": "labelsTr/b.nii.gz",
        },
        "first": {
            "images": ["$SEGFLOW_TEST_PART/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"],
            "label": "labelsTr/a.nii.gz",
        },
    }
    folder = make(dataset=mapping)
    found = read_dataset(folder)
    assert [case.identifier for case in found.cases] == ["first", "second"]
    assert found.cases[0].images[0] == folder / "imagesTr" / "a_0000.nii.gz"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([f for f in FILES if f != "imagesTr/b_0000"], r"case b: channel _0000 is missing in .*imagesTr"),
        ((*FILES, "imagesTr/b_0002"), r"case b: .*b_0002\.nii\.gz is one channel too many; .* names 2"),
        (FILES[:-1], r"case b: label file .*labelsTr/b\.nii\.gz is missing; add it or remove"),
        (FILES[4:], r"imagesTr does not exist; images belong there as IDENTIFIER_0000\.nii\.gz"),
        (("imagesTr/a", "labelsTr/a"), r"imagesTr holds no file named IDENTIFIER_0000\.nii\.gz"),
    ],
    ids=["missing-first", "surplus", "no-label", "no-folder", "no-images"],
)
def test_wrong_files(files, message, make):
    with pytest.raises(DatasetError, match=message):
        read_dataset(make(files=files))


def test_gap_in_the_channel_numbers(make):
    files = ("imagesTr/a_0000", "imagesTr/a_0002", "labelsTr/a")
    names = {"0": "T1", "1": "T2", "2": "FLAIR"}
    with pytest.raises(DatasetError, match=r"case a: channel _0001 is missing .*\(beside a_000\d\.nii\.gz\)"):
        read_dataset(make(files=files, channel_names=names, numTraining=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numTraining": 3}, "numTraining is 3, but 2 cases were found"),
        ({"labels": {"organ": 1}}, 'labels must contain "background": 0'),
        ({"labels": {"background": 1, "organ": 2}}, 'labels must contain "background": 0'),
        ({"labels": {"background": 0, "organ": 2}}, r"consecutive from 0, found \[0, 2\]"),
        ({"labels": {"background": 0, "organ": "1"}}, "label 'organ' must be a whole number .* found '1'"),
        ({"labels": {"background": 0, "organ": 1.0}}, "label 'organ' must be a whole number"),
        ({"labels": {"background": 0, "organ": True}}, "label 'organ' must be a whole number"),
        ({"labels": {"background": 0, "organ": []}}, "label 'organ' must be a whole number"),
        ({"labels": {"background": 0, "a": 1, "ignore": 3}}, r'"ignore" must be .* plus one \(2\), found 3'),
        (
            {"labels": {"background": 0, "whole": [1, 2], "core": 2}},
            "'regions_class_order' .* 2 regions, found 0",
        ),
        ({"labels": ["background", "organ"]}, "labels must map names to values"),
        ({"channel_names": {"0": "T1", "2": "T2"}}, 'channel_names must map "0", "1", ... to names'),
        ({"channel_names": ["T1", "T2"]}, 'channel_names must map "0", "1", ... to names'),
        ({"channel_names": {}}, 'channel_names must map "0", "1", ... to names'),
        (
            {"dataset": {"a": {"images": ["imagesTr/x.nii.gz"], "label": "labelsTr/a.nii.gz"}}},
            "x.nii.gz does not exist",
        ),
        ({"dataset": {"a": ["imagesTr/a_0000.nii.gz"]}}, '"dataset" must map identifiers to'),
        (
            {"dataset": {"a": {"images": 1, "label": "labelsTr/a.nii.gz"}}},
            '"dataset" must map identifiers to',
        ),
        ({"dataset": {"a": {"images": [1], "label": "labelsTr/a.nii.gz"}}}, '1 under "dataset" is no path'),
        (
            {"dataset": {"b/a": {"images": ["imagesTr/a_0000.nii.gz"], "label": "labelsTr/a.nii.gz"}}},
            "'b/a' under \"dataset\" cannot be a case's name",
        ),
        (
            {"dataset": {"..": {"images": ["imagesTr/a_0000.nii.gz"], "label": "labelsTr/a.nii.gz"}}},
            r"'\.\.' under \"dataset\" cannot be a case's name",
        ),
        ({"file_ending": "nii.gz"}, r"file_ending is 'nii\.gz'; it must be one of \.nii\.gz, "),
        ({"file_ending": ".dcm"}, r"file_ending is '\.dcm'; it must be one of "),
        ({"file_ending": None}, r"file_ending is None; it must be one of "),
        (
            {"labels": {"0": "background", "1": "organ"}},
            r'wrong way round: write \{"background": 0, "organ": 1\}',
        ),
        ({"dataset": {"a": {"images": ["imagesTr/a_0000.nii.gz"]}}}, '"dataset" must map identifiers to'),
    ],
)
def test_wrong_description(changes, message, make):
    folder = make(**changes)
    with pytest.raises(DatasetError, match=rf"^{re.escape(str(folder))}.dataset\.json: .*{message}"):
        read_dataset(folder)


@pytest.mark.parametrize("key", ["channel_names", "labels", "numTraining", "file_ending"])
def test_a_key_is_missing(key, make):
    with pytest.raises(DatasetError, match=rf"dataset\.json lacks {key}$"):
        read_dataset(make(without=[key]))


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), ("{", "is not valid JSON"), ("[]", "must hold a JSON object")],
)
def test_no_description(content, message, tmp_path):
    if content is not None:
        (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DatasetError, match=rf"dataset\.json {message}"):
        read_dataset(tmp_path)


def test_description_alone_needs_no_files(make):
    description, labels = read_description(make(files=()) / "dataset.json")
    assert description["file_ending"] == ".nii.gz"
    assert labels.foreground_values == (1, 2)


def test_cases_to_predict_need_no_labels(make):
    cases = find_inputs([make() / "imagesTr"], ".nii.gz", 2).cases.values()
    assert [(case.identifier, case.label) for case in cases] == [("a", None), ("b", None)]


def test_stray_labels(make):
    folder = make(files=(*FILES, "labelsTr/c"))
    assert stray_labels(read_dataset(folder)) == (folder / "labelsTr" / "c.nii.gz",)


def test_list_files_does_not_judge(make):
    folder = make(files=(*FILES[:3], "labelsTr/a"))
    found = list_files(folder)
    assert [file.name for file in found["a"]] == ["a_0000.nii.gz", "a_0001.nii.gz", "a.nii.gz"]
    assert [file.name for file in found["b"]] == ["b_0000.nii.gz"]
