"""Finding the files of a data set and of images to predict, and each way they can be wrong."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from image_samples import FILES

from segflow.contracts.errors import DatasetError
from segflow.images.case_files import find_inputs
from segflow.images.dataset import list_files, read_dataset, read_description, stray_labels
from segflow.nnunet.folds import read_folds

A_IMAGES = ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"]
A_LABEL = "labelsTr/a.nii.gz"


def test_a_sound_data_set(make):
    folder = make()
    found = read_dataset(folder)
    assert [case.identifier for case in found.cases] == ["a", "b"]
    assert [file.name for file in found.cases[1].images] == ["b_0000.nii.gz", "b_0001.nii.gz"]
    assert found.cases[1].label == folder / "labelsTr" / "b.nii.gz"
    assert found.channel_names == ("T1", "T2")
    assert found.labels.values == (0, 1, 2)
    assert (len(found.cases), found.file_ending) == (2, ".nii.gz")
    assert (found.name, found.folds_file) == (folder.name, None)


def test_other_files_are_ignored(make):
    others = (
        "imagesTr/readme",
        "imagesTr/a_00001",
        "imagesTr/a_000",
        "imagesTr/._a_0000",
        "imagesTr/.9.a_0000",
    )
    folder = make(files=(*FILES, *others, "labelsTr/._a"), name="MRI")
    (folder / "imagesTr" / "a_0000.nii").touch()
    (folder / "splits_final.json").write_text("[]")
    found = read_dataset(folder)
    assert [case.identifier for case in found.cases] == list(list_files(folder)) == ["a", "b"]
    assert stray_labels(found) == ()
    assert (found.name, found.folds_file) == ("MRI", folder / "splits_final.json")


@pytest.mark.parametrize(("ending", "most"), [(".bmp", 255), (".nii.gz", 65535)])
def test_more_labels_than_a_label_map_can_be_written_with(ending, most, make):
    def labels(n):
        return {"background": 0, "organ": list(range(1, n + 1)), "core": 1}

    read_description(
        make(file_ending=ending, labels=labels(most), regions_class_order=[1, 2]) / "dataset.json"
    )
    with pytest.raises(
        DatasetError, match=rf"{ending} file holds labels to {most}, but labels go to {most + 1}"
    ):
        read_description(
            make(file_ending=ending, labels=labels(most + 1), regions_class_order=[1, 2]) / "dataset.json"
        )


@pytest.mark.parametrize("declared", ["2", 2.0])
def test_a_number_of_cases_that_is_written_otherwise_is_read_with_a_warning(declared, make):
    folder = make(numTraining=declared)
    found = read_dataset(folder)
    assert len(found.cases) == 2
    (warning,) = found.labels.warnings
    assert warning == f"{folder / 'dataset.json'}: numTraining {declared!r} is read as 2; write it so"


@pytest.mark.parametrize("declared", ["many", 0, -2, 1.5, None, [2]])
def test_a_number_of_cases_that_is_none(declared, make):
    with pytest.raises(DatasetError, match=r"numTraining must be the number of training cases, found"):
        read_description(make(numTraining=declared) / "dataset.json")


NFC, NFD = "Müller", "Mu\u0308ller"


def test_the_spellings_of_a_name_are_one_name(make):
    files = [f"imagesTr/{NFD}_0000", f"imagesTr/{NFC}_0001", f"labelsTr/{NFD}"]
    folder = make(files=files, numTraining=1)
    (case,) = read_dataset(folder).cases
    assert case.identifier == NFC
    found = [*case.images, case.label]
    assert [str(file.relative_to(folder)) for file in found] == [f"{name}.nii.gz" for name in files]
    assert list_files(folder) == {NFC: tuple(found)}
    assert stray_labels(read_dataset(folder)) == ()
    (folder / "splits_final.json").write_text(f'[{{"train": ["{NFD}"], "val": ["x"]}}]')
    assert read_folds(folder / "splits_final.json")[0].train == (NFC,)
    (folder / "imagesTr" / f"{NFC}_0000.nii.gz").touch()
    with pytest.raises(DatasetError, match=f"are both channel 0 of a case {NFC}"):
        find_inputs([folder / f"imagesTr/{name}_0000.nii.gz" for name in (NFC, NFD)], ".nii.gz", 1)


@pytest.mark.parametrize(
    ("name", "said"), [(101 * "ü", "is longer than 200 bytes"), ("prepared", "file of the results")]
)
def test_names_that_results_cannot_have(name, said, make):
    with pytest.raises(DatasetError, match=rf"case {name}: .* {said}"):
        read_dataset(make(files=[f"imagesTr/{name}_0000", f"imagesTr/{name}_0001"], numTraining=1))


@pytest.mark.parametrize("name", [os.fsdecode(b"M\xfcller"), "a\x1b[31mb", "two\nlines"])
def test_names_that_are_no_text(name, make):
    folder = make(
        files=(*FILES, *(f"imagesTr/{name}_000{channel}" for channel in (0, 1)), f"labelsTr/{name}")
    )
    for read in (read_dataset, list_files):
        with pytest.raises(DatasetError, match=rf"^case {re.escape(ascii(name))}: its name is not UTF-8"):
            read(folder)
    inputs = find_inputs([folder / "imagesTr"], ".nii.gz", 2)
    assert (list(inputs.cases), list(inputs.faults)) == (["a", "b"], [name])


def test_odd_identifiers_in_order(make):
    names = ("b", "B", "a_10", "a_2", "a b", "a.b", "ünï-ç", "b_0000", "c.nii.gz", "x_12")
    files = [f"imagesTr/{name}_000{channel}" for name in names for channel in (0, 1)]
    folder = make(files=[*files, *(f"labelsTr/{name}" for name in names)], numTraining=len(names))
    assert [case.identifier for case in read_dataset(folder).cases] == sorted(names)


def test_one_file_may_hold_all_channels(make):
    names = {"0": "R", "1": "G", "2": "B"}
    files = ("imagesTr/a_0000", "labelsTr/a")
    folder = make(files=files, ending=".png", file_ending=".png", numTraining=1, channel_names=names)
    assert [file.name for file in read_dataset(folder).cases[0].images] == ["a_0000.png"]


@pytest.mark.parametrize("without", [[], ["channel_names"]])
def test_the_old_name_of_channel_names(without, make):
    folder = make(without=without, modality={"0": "CT", "1": "PET"})
    assert read_dataset(folder).channel_names == (("CT", "PET") if without else ("T1", "T2"))


def test_channel_names_are_in_the_order_of_channels(make):
    folder = make(channel_names={"1": "T2", "0": "T1"})
    assert list(read_description(folder / "dataset.json")[0]["channel_names"].items()) == [
        ("0", "T1"),
        ("1", "T2"),
    ]


def test_listed_cases(make, monkeypatch, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "lesion.mha").touch()
    monkeypatch.setenv("SEGFLOW_TEST_LABELS", str(elsewhere))
    listing = {
        "second": {
            "images": [f"imagesTr/b_000{number}.nii.gz" for number in (0, 1)],
            "label": "labelsTr/b.nii.gz",
        },
        "first": {"images": A_IMAGES, "label": "${SEGFLOW_TEST_LABELS}/lesion.mha"},
    }
    folder = make(dataset=listing)
    first, second = read_dataset(folder).cases
    assert (first.identifier, second.identifier) == ("first", "second")
    assert (first.images[0], first.label) == (folder / A_IMAGES[0], elsewhere / "lesion.mha")
    assert list_files(folder)["first"] == (*first.images, first.label)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([f for f in FILES if f != "imagesTr/b_0000"], r"case b: channel _0000 is missing in .*imagesTr"),
        ((*FILES, "imagesTr/b_0002"), r"case b: .*b_0002\.nii\.gz is one channel too many; .* names 2"),
        ((*FILES[:-1], "imagesTr/b_0003"), r"case b: .*b_0003\.nii\.gz is one channel too many"),
        (FILES[:-1], r"case b: label file .*labelsTr/b\.nii\.gz is missing; add it or remove"),
        (FILES[4:], r"imagesTr does not exist; images belong there as IDENTIFIER_0000\.nii\.gz"),
        (("imagesTr/a", "labelsTr/a"), r"imagesTr holds no file named IDENTIFIER_0000\.nii\.gz"),
    ],
    ids=["missing-first", "surplus", "gap", "no-label", "no-folder", "no-images"],
)
def test_wrong_files(files, message, make):
    with pytest.raises(DatasetError, match=message):
        read_dataset(make(files=files))


def test_all_faults_are_named_at_once(make):
    with pytest.raises(DatasetError, match=r"(?s)^case a: label file .*\ncase b: channel _0001 is missing"):
        read_dataset(make(files=["imagesTr/a_0000", "imagesTr/a_0001", "imagesTr/b_0000", "imagesTr/b_0002"]))


def test_a_gap_in_the_channel_numbers(make):
    files = ("imagesTr/a_0000", "imagesTr/a_0002", "labelsTr/a")
    names = {"0": "T1", "1": "T2", "2": "FLAIR"}
    with pytest.raises(DatasetError, match=r"case a: channel _0001 is missing .*\(beside a_000\d\.nii\.gz\)"):
        read_dataset(make(files=files, channel_names=names, numTraining=1))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("numTraining", 3, "numTraining is 3, but 2 cases were found"),
        ("labels", {"organ": 1}, 'labels must contain "background": 0'),
        ("labels", {"background": 0, "organ": 1.25}, "label 'organ' must be a whole number"),
        (
            "labels",
            {"background": 0, "whole": [1, 2], "core": 2},
            "'regions_class_order' .* 2 regions, found 0",
        ),
        ("labels", ["background", "organ"], "labels must map names to values"),
        ("channel_names", {"0": "T1", "2": "T2"}, 'channel_names must map "0", "1", ... to names'),
        ("channel_names", ["T1", "T2"], 'channel_names must map "0", "1", ... to names'),
        ("channel_names", {}, 'channel_names must map "0", "1", ... to names'),
        ("dataset", {"a": {"images": ["imagesTr/x.nii.gz"], "label": A_LABEL}}, "x.nii.gz does not exist"),
        ("dataset", ["a"], "'dataset': it needs a value for each name"),
        ("dataset", {"a": A_IMAGES}, r"'dataset\.a': .*dictionary .*found \["),
        ("dataset", {"a": {"images": 1, "label": A_LABEL}}, r"'dataset\.a\.images': it must be a list"),
        ("dataset", {"a": {"images": A_IMAGES}}, r"'dataset\.a\.label': Field required"),
        (
            "dataset",
            {"a": {"images": A_LABEL, "label": A_LABEL}},
            r"images': it must be a list: write \[label",
        ),
        ("dataset", {"a": {"images": ["b" * 300], "label": A_LABEL}}, "cannot be opened: File name too long"),
        ("dataset", {"a": {"images": [1], "label": A_LABEL}}, r"'dataset\.a\.images\.0': .*valid string"),
        (
            "dataset",
            {"b/a": {"images": A_IMAGES, "label": A_LABEL}},
            "'b/a' under \"dataset\" cannot be a case's name",
        ),
        (
            "dataset",
            {"..": {"images": A_IMAGES, "label": A_LABEL}},
            r"'\.\.' under \"dataset\" cannot be a case's",
        ),
        ("file_ending", "nii.gz", r"file_ending is 'nii\.gz'; it must be one of \.nii\.gz, "),
        ("file_ending", None, r"file_ending is None; it must be one of "),
    ],
)
def test_a_wrong_description(key, value, message, make):
    folder = make(**{key: value})
    with pytest.raises(DatasetError, match=rf"^{re.escape(str(folder))}.dataset\.json: .*{message}"):
        read_dataset(folder)


@pytest.mark.parametrize("key", ["channel_names", "labels", "numTraining", "file_ending"])
def test_a_missing_key(key, make):
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


def test_a_description_needs_no_files(make):
    description, labels = read_description(make(files=()) / "dataset.json")
    assert description["file_ending"] == ".nii.gz"
    assert labels.foreground_values == (1, 2)


@pytest.mark.parametrize(
    ("names", "channels", "found"),
    [
        (("a", "b_2021", "c_0001"), 1, ["a", "b_2021", "c_0001"]),
        (("a", "b_0000"), 1, ["b"]),
        (("a_0000", "b_0000"), 1, ["a", "b"]),
        (("a", "b"), 2, None),
    ],
)
def test_plain_names_of_images_with_one_channel(names, channels, found, make):
    folder = make(files=[f"images/{name}" for name in (*names, "._a")]) / "images"
    others = (folder / "c.nii", folder / "d.mha")
    for file in (folder / "notes.txt", *others):
        file.touch()
    if found is None:
        with pytest.raises(
            DatasetError,
            match=r"IDENTIFIER_0000\.nii\.gz, and the model has 2 channels; name files that hold all",
        ):
            find_inputs([folder], ".nii.gz", channels)
        return
    inputs = find_inputs([folder], ".nii.gz", channels)
    assert inputs.others == others
    assert list(inputs.cases) == found
    assert list(inputs.faults) == [name for name in names if name.removesuffix("_0000") not in found]
    assert all("has no channel number; name it" in fault for fault in inputs.faults.values())
    if "b_2021" in found:
        files = [folder / f"{name}.nii.gz" for name in names]
        assert find_inputs(files, ".nii.gz", channels).cases == inputs.cases


def test_stray_labels(make):
    folder = make(files=(*FILES, "labelsTr/c"))
    assert stray_labels(read_dataset(folder)) == (folder / "labelsTr" / "c.nii.gz",)


def test_a_listed_label_is_none_that_strays(make, monkeypatch):
    """Whether the folder or the list is relative."""
    folder = make()
    listed = {"a": {"images": [str(folder / f"imagesTr/a_000{n}.nii.gz") for n in (0, 1)]}}
    listed["a"]["label"] = str(folder / "labelsTr/a.nii.gz")
    description = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(description | {"dataset": listed, "numTraining": 1}))
    monkeypatch.chdir(folder.parent)
    found = read_dataset(Path(folder.name))
    assert [file.name for file in stray_labels(found)] == ["b.nii.gz"]


def test_files_are_listed_without_a_check(make):
    found = list_files(make(files=(*FILES[:3], "labelsTr/a")))
    assert [file.name for file in found["a"]] == ["a_0000.nii.gz", "a_0001.nii.gz", "a.nii.gz"]
    assert [file.name for file in found["b"]] == ["b_0000.nii.gz"]


@pytest.mark.parametrize("ending", [".NII.GZ", ".PNG", ".Tif"])
def test_endings_are_those_of_dataset_json(ending, make):
    folder = make(ending=ending, file_ending=ending)
    assert [case.label.name for case in read_dataset(folder).cases] == [f"a{ending}", f"b{ending}"]
    with pytest.raises(DatasetError, match="holds no file named"):
        find_inputs([folder / "imagesTr"], ending.swapcase(), 2)


@pytest.fixture
def lossy(make):
    """A data set in JPEG."""

    def lay_out(ending=".jpg", labels=".png"):
        names = {"0": "R", "1": "G", "2": "B"}
        images = ("imagesTr/a_0000", "imagesTr/b_0000")
        folder = make(files=images, ending=ending, file_ending=ending, channel_names=names)
        (folder / "labelsTr").mkdir()
        for name in ("a", "b", "c"):
            (folder / "labelsTr" / f"{name}{labels}").touch()
        return folder

    return lay_out


@pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".JPG"])
def test_labels_beside_jpeg_are_png(ending, lossy):
    folder = lossy(ending)
    dataset, labels = read_dataset(folder), folder / "labelsTr"
    assert [case.label for case in dataset.cases] == [labels / "a.png", labels / "b.png"]
    assert stray_labels(dataset) == (labels / "c.png",)
    assert list_files(folder)["a"] == (folder / "imagesTr" / f"a_0000{ending}", labels / "a.png")


def test_labels_in_jpeg_are_refused(lossy):
    with pytest.raises(DatasetError, match=r"case a: label file .*a\.jpg is JPEG, .*: make .*a\.png from"):
        read_dataset(lossy(labels=".jpg"))


def test_the_data_of_headers_are_listed_with_them(make):
    folder = make(ending=".mhd", file_ending=".mhd")
    names = ("imagesTr/a_0000", "imagesTr/a_0001", "labelsTr/a")
    for name in names:
        (folder / f"{name}.mhd").write_text(f"ElementDataFile = {name.split('/')[1]}.raw\n")
        (folder / f"{name}.raw").touch()
    found = [str(file.relative_to(folder)) for file in list_files(folder)["a"]]
    assert found == [*(f"{name}.mhd" for name in names), *(f"{name}.raw" for name in names)]


def test_a_side_file_is_listed_once(make):
    folder = make(ending=".tif", file_ending=".tif")
    sides = (folder / "imagesTr" / "a.json", folder / "labelsTr" / "a.json")
    for side in sides:
        side.touch()
    assert list_files(folder)["a"][3:] == sides


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *(
            (name, None)
            for name in (None, "None", "SimpleITKIO", "NaturalImage2DIO", "Tiff3DIO", "NibabelIO")
        ),
        (
            "NibabelIOWithReorient",
            "is NibabelIOWithReorient, but images are never re-oriented here: axes are taken",
        ),
        ("SimpleITKIOWithReorient", "is SimpleITKIOWithReorient, but images are never re-oriented"),
        ("MyReader", "is 'MyReader', which is no reader of nnU-Net's that reads as segflow does"),
        (["SimpleITKIO"], "is ['SimpleITKIO'], which is no reader"),
    ],
    ids=str,
)
def test_readers_that_dataset_json_names(name, message, make):
    folder = make(overwrite_image_reader_writer=name)
    if message is None:
        assert len(read_dataset(folder).cases) == 2
        return
    where = re.escape(f"{folder / 'dataset.json'}: overwrite_image_reader_writer {message}")
    with pytest.raises(DatasetError, match=where):
        read_dataset(folder)
