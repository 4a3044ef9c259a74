"""`segflow check` on data sets of every format, and what it warns of."""

from __future__ import annotations

import json
import shutil

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk

from segflow.commands.main import main
from segflow.commands.report import _warnings
from segflow.images.dataset import read_dataset

ENDINGS = [
    ".nii.gz",
    ".nii",
    ".nrrd",
    ".mha",
    ".mhd",
    ".gipl",
    ".png",
    ".bmp",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".PNG",
]
FLAT = {".png", ".bmp", ".jpg", ".jpeg", ".PNG"}
SIDES = {".tif", ".tiff"}


@pytest.fixture
def dataset(tmp_path):
    """Lay out a small data set."""

    def lay_out(ending=".nii.gz", n=3, **changes):
        folder = tmp_path / "data"
        generator = np.random.default_rng(0)
        for below in ("imagesTr", "labelsTr"):
            (folder / below).mkdir(parents=True)
        shape = (6, 7) if ending in FLAT else (3, 6, 7)
        for name in [f"case {number}" for number in range(n)]:
            labels = generator.integers(0, 3, shape).astype(np.uint8)
            save(
                folder / "imagesTr" / f"{name}_0000{ending}",
                generator.integers(0, 200, shape).astype(np.uint8),
            )
            save(folder / "labelsTr" / f"{name}{'.png' if ending in {'.jpg', '.jpeg'} else ending}", labels)
            if ending in SIDES:
                (folder / "imagesTr" / f"{name}.json").write_text('{"spacing": [3, 2, 1]}')
        description = {
            "channel_names": {"0": "MRI"},
            "labels": {"background": 0, "organ": 1, "lesion": 2},
            "numTraining": n,
            "file_ending": ending,
        }
        (folder / "dataset.json").write_text(json.dumps(description | changes))
        folds = [{"train": ["case 0"], "val": ["case 1"]}]  # else it would be warned of few cases
        (folder / "splits_final.json").write_text(json.dumps(folds))
        return folder

    return lay_out


def save(path, array):
    if path.suffix.lower() in FLAT:
        PIL.Image.fromarray(array).save(path)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


def check(folder, *words):
    """Status of the command, and its report."""
    report = folder.parent / "check.json"
    report.unlink(missing_ok=True)
    status = main(["check", str(folder), "--output", str(report), "--workers", "1", *words])
    return status, json.loads(report.read_text()) if report.exists() else None


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format(ending, dataset, capfd):
    status, report = check(dataset(ending))
    assert (status, report["warnings"]) == (0, [])
    assert [case["identifier"] for case in report["cases"]] == ["case 0", "case 1", "case 2"]
    for case in report["cases"]:
        assert case["label_values"] == [0, 1, 2]
        assert case["shape"] == ([1, 6, 7] if ending in FLAT else [3, 6, 7])
        spacing = [999, 1, 1] if ending in FLAT else [3, 2, 1] if ending in SIDES else [1, 1, 1]
        assert case["spacing_mm"] == spacing
    assert "3 cases are sound" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("ending", "beside"),
    [(".mhd", "case 1_0000.raw"), (".tif", "case 1.json"), (".nii.gz", "case 1_0000.nii.gz")],
)
def test_the_digest_of_an_image_changes_with_all_that_it_consists_of(ending, beside, dataset):
    folder = dataset(ending)
    _, before = check(folder)
    file = folder / "imagesTr" / beside
    if ending == ".mhd":
        file.write_bytes(bytes(file.stat().st_size))
    elif ending == ".tif":
        file.write_text('{"spacing": [3, 2, 2]}')
    else:
        shutil.copy(folder / "imagesTr" / "case 0_0000.nii.gz", file)
    _, after = check(folder)
    changed = [
        one["identifier"]
        for one, two in zip(before["cases"], after["cases"], strict=True)
        if one["images"] != two["images"]
    ]
    assert changed == ["case 1"]


def empty(folder):
    save(folder / "labelsTr" / "case 1.nii.gz", np.zeros((3, 6, 7), np.uint8))


def stray(folder):
    shutil.copy(folder / "labelsTr" / "case 0.nii.gz", folder / "labelsTr" / "nobody.nii.gz")


def describe(**changes):
    def change(folder):
        file = folder / "dataset.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


REGIONS = {"background": 0, "whole": [1, 2], "core": 2}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (empty, "case case 1: label file {folder}/labelsTr/case 1.nii.gz has no foreground, only 0"),
        (stray, "label file {folder}/labelsTr/nobody.nii.gz has no image and is left out"),
        (
            describe(labels=REGIONS, regions_class_order=[2, 1]),
            "region 'core' unites [2], but 'regions_class_order'",
        ),
    ],
    ids=["empty", "stray", "order"],
)
def test_warnings(spoil, message, dataset, capfd):
    folder = dataset()
    assert check(folder) == (0, check(folder)[1])
    assert check(folder)[1]["warnings"] == []
    capfd.readouterr()
    spoil(folder)
    status, report = check(folder)
    (warning,) = report["warnings"]
    assert status == 0
    assert warning.startswith(message.format(folder=folder).replace(f"{folder}/", ""))
    assert "".join(warning.split()) in "".join(capfd.readouterr().err.replace(f"{folder}/", "").split())


def test_what_no_chunk_can_know_is_said_by_the_stage_that_sees_all(dataset, tmp_path, capfd):
    """The fingerprint, and the page of results: one scan in two chunks, and a label that occurs nowhere."""
    folder = dataset(labels={"background": 0, "a": 1, "b": 2, "c": 3}, n=8)
    shutil.copy(folder / "imagesTr" / "case 0_0000.nii.gz", folder / "imagesTr" / "case 3_0000.nii.gz")
    expected = (
        "cases case 0, case 3 have the same images, byte by byte; give them one patient (`patients`), "
        "or else one may be trained on where the other is scored",
        "label 3 (c) occurs in no case",
    )
    files = [tmp_path / "check" / f"chunk_{index}.json" for index in range(2)]
    for index, file in enumerate(files):
        file.parent.mkdir(exist_ok=True)
        assert main(["check", str(folder), "--output", str(file), "--chunk", f"{index}/2"]) == 0
        report = json.loads(file.read_text())
        assert report["warnings"] == []
        assert {"case 0", "case 3"} - {case["identifier"] for case in report["cases"]}
    capfd.readouterr()
    assert (
        check(folder)[1]["warnings"] == []
    )  # the stages that see all say it themselves, when it is still true
    said = " ".join(capfd.readouterr().err.split())
    assert all(warning in said for warning in expected)
    words = ["fingerprint", folder, "--check", *files, "--output", tmp_path / "fingerprint.json"]
    assert main([*map(str, words)]) == 0
    said = " ".join(capfd.readouterr().err.split())
    assert all(warning in said for warning in expected)
    found = read_dataset(folder)
    assert _warnings(files, tmp_path, found) == expected
    assert _warnings(files[1:], tmp_path, found) == ()  # the rest may have label 3
    assert _warnings((), tmp_path, found) == expected
    assert _warnings((), tmp_path / "a", found) == ()


def test_many_warnings_do_not_flood_the_screen(dataset, capfd):
    folder = dataset(".tif", n=15)
    for file in (folder / "imagesTr").glob("*.json"):
        file.unlink()
    _, report = check(folder)
    assert len(report["warnings"]) == 15
    said = capfd.readouterr().err
    assert "... and 5 more" in said
    assert said.count("there is no") == 10


def unknown_value(folder):
    save(folder / "labelsTr" / "case 1.nii.gz", np.full((3, 6, 7), 7, np.uint8))


def cut(folder):
    file = folder / "imagesTr" / "case 1_0000.nii.gz"
    file.write_bytes(file.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (unknown_value, "holds the value 7, which dataset.json does not name"),
        (cut, "it ends before its last voxel"),
    ],
)
def test_errors(spoil, message, dataset, capfd):
    folder = dataset()
    spoil(folder)
    status, report = check(folder)
    said = " ".join(capfd.readouterr().err.split())
    assert (status, report) == (1, None)
    assert "case case 1: " in said
    assert message in said


def test_reports_name_no_folder(dataset, tmp_path):
    """Nor that of files which lie elsewhere."""
    folder = dataset()
    for below in ("imagesTr", "labelsTr"):
        (folder / below).rename(tmp_path / below)
    empty(tmp_path)
    listed = {
        f"case {n}": {
            "images": [str(tmp_path / "imagesTr" / f"case {n}_0000.nii.gz")],
            "label": str(tmp_path / "labelsTr" / f"case {n}.nii.gz"),
        }
        for n in range(3)
    }
    describe(dataset=listed)(folder)
    assert check(folder)[1]["warnings"] == ["case case 1: label file case 1.nii.gz has no foreground, only 0"]


def test_a_tiny_image_is_fine(dataset):
    folder = dataset(n=2)
    for number, value in enumerate([1, 2]):
        save(folder / "imagesTr" / f"case {number}_0000.nii.gz", np.full((1, 1, 1), value, np.uint8))
        save(folder / "labelsTr" / f"case {number}.nii.gz", np.full((1, 1, 1), value, np.uint8))
    assert check(folder)[0] == 0


@pytest.mark.parametrize(
    ("folds", "status", "said"),
    [
        (
            [{"train": ["case 0"], "val": ["case1"]}],
            1,
            "fold 0 names case1, which is not a case of the data set",
        ),
        ([{"train": ["case 0"], "val": []}], 1, "fold 0 has no training or no held-out cases"),
        ([{"train": ["case 0"], "val": ["case 1"]}] * 2, 0, "folds 0, 1 hold case 1 out 2 times"),
        ("five", 1, "'folds': "),
    ],
)
def test_folds_are_checked_before_the_images(folds, status, said, dataset, capfd):
    folder = dataset()
    (folder / "splits_final.json").write_text(json.dumps(folds))
    assert main(["check", str(folder), "--workers", "1"]) == status
    assert f"splits_final.json: {said}" in capfd.readouterr().err


def test_labels_without_any_foreground(dataset, capfd):
    folder = dataset()
    for number in range(3):
        save(folder / "labelsTr" / f"case {number}.nii.gz", np.zeros((3, 6, 7), np.uint8))
    assert main(["check", str(folder), "--workers", "1"]) == 1
    assert "no case has any foreground voxel" in capfd.readouterr().err
