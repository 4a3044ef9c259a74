"""`segflow import`: other layouts, described without a copy."""

from __future__ import annotations

import json
import re
import tarfile

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from PIL import Image
from stage_calls import call

from segflow.commands.main import main
from segflow.images.cases import read_image
from segflow.images.dataset import read_dataset
from segflow.nnunet.folds import read_folds


def write(file, array):
    file.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(file))
    return file


def labels_of(number):
    found = np.zeros((4, 5, 6), np.uint8)
    found[1, 1:3, 2:4] = 1 + number % 2
    return found


@pytest.fixture
def task(tmp_path):
    """A Decathlon task of six cases with two channels in a 4D file each, and what macOS leaves beside them."""
    folder = tmp_path / "Task09_Organ"
    for number in range(6):
        image = np.stack([np.full((4, 5, 6), 10 * number + c, np.int16) for c in range(2)])
        write(folder / "imagesTr" / f"organ_{number}.nii.gz", image)
        write(folder / "labelsTr" / f"organ_{number}.nii.gz", labels_of(number))
    (folder / "imagesTr" / "._organ_0.nii.gz").write_bytes(b"\0")
    description = {
        "name": "Organ",
        "licence": "CC-BY",
        "modality": {"0": "T1", "1": "T2"},
        "labels": {"0": "background", "1": "organ", "2": "lesion"},
        "numTraining": 6,
        "training": [
            {"image": f"./imagesTr/organ_{n}.nii.gz", "label": f"./labelsTr/organ_{n}.nii.gz"}
            for n in range(6)
        ],
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def test_two_cases_of_one_name(task, tmp_path, capsys):
    file = task / "dataset.json"
    content = json.loads(file.read_text())
    (task / "imagesTr" / "b").mkdir()
    (task / "imagesTr" / "organ_0.nii.gz").rename(task / "imagesTr" / "b" / "organ_1.nii.gz")
    content["training"][0]["image"] = "./imagesTr/b/organ_1.nii.gz"
    file.write_text(json.dumps(content))
    assert main(["import", "msd", str(task), "--output", str(tmp_path / "new")]) == 1
    assert "there are two cases organ_1; rename the files of one" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("is_archive", [False, True])
def test_a_task_of_the_decathlon(task, tmp_path, is_archive):
    source = task
    if is_archive:
        source = tmp_path / "Task09_Organ.tar"
        with tarfile.open(source, "w") as archive:
            archive.add(task, task.name)
    call("import", "msd", source, "--output", tmp_path / "new")
    found = read_dataset(tmp_path / "new")
    assert found.channel_names == ("T1", "T2")
    assert found.labels.as_json["labels"] == {"background": 0, "organ": 1, "lesion": 2}
    assert [case.identifier for case in found.cases] == [f"organ_{n}" for n in range(6)]
    image, _ = read_image(found.cases[3].images, case="organ_3")
    assert image.shape == (2, 4, 5, 6)
    assert [float(channel.mean()) for channel in image] == [30, 31]
    assert json.loads((tmp_path / "new" / "dataset.json").read_text())["licence"] == "CC-BY"
    assert not (tmp_path / "new" / "splits_final.json").exists()
    if is_archive:  # can be moved
        (tmp_path / "new").rename(tmp_path / "moved")
        assert len(read_dataset(tmp_path / "moved").cases) == 6
    call("check", tmp_path / ("moved" if is_archive else "new"), "--workers", 1)


def test_a_damaged_archive_leaves_nothing_and_nothing_is_unpacked_over_files(task, tmp_path, capsys):
    whole, new = tmp_path / "whole.tar", tmp_path / "new"
    with tarfile.open(whole, "w") as archive:
        archive.add(task, task.name)
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(whole.read_bytes()[:9000])
    assert main(["import", "msd", str(damaged), "--output", str(new)]) == 1
    assert "damaged.tar cannot be unpacked: truncated" in capsys.readouterr().err
    assert list(new.iterdir()) == []
    (new / "source").mkdir()
    assert main(["import", "msd", str(whole), "--output", str(new)]) == 1
    assert "new/source exists already; remove it" in capsys.readouterr().err
    assert list(new.rglob("*")) == [new / "source"]


def test_files_of_nnunets_first_version(task, tmp_path):
    for number in range(6):
        (task / "imagesTr" / f"organ_{number}.nii.gz").unlink()
        for channel in range(2):
            write(task / "imagesTr" / f"organ_{number}_{channel:04d}.nii.gz", np.zeros((4, 5, 6), np.int16))
    call("import", "nnunet-v1", task, "--output", tmp_path / "new")
    images = read_dataset(tmp_path / "new").cases[0].images
    assert [file.name for file in images] == ["organ_0_0000.nii.gz", "organ_0_0001.nii.gz"]


@pytest.fixture
def bids(tmp_path):
    """Six subjects of two sessions each, with two kinds of images."""
    folder = tmp_path / "bids"
    for subject in range(6):
        for session in range(2):
            name = f"sub-{subject:02d}_ses-{session}"
            place = f"sub-{subject:02d}/ses-{session}/anat"
            for suffix in ("T1w", "FLAIR"):
                write(folder / place / f"{name}_{suffix}.nii.gz", np.zeros((4, 5, 6), np.int16))
            write(folder / "derivatives" / "labels" / place / f"{name}_T1w_dseg.nii.gz", labels_of(subject))
    return folder


def test_bids(bids, tmp_path):
    call("import", "bids", bids, "--output", tmp_path / "new")
    found = read_dataset(tmp_path / "new")
    assert found.channel_names == ("FLAIR", "T1w")
    assert found.labels.as_json["labels"] == {"background": 0, "label 1": 1, "label 2": 2}
    assert found.cases[0].identifier == "sub-00_ses-0"
    assert [file.name for file in found.cases[0].images] == [
        "sub-00_ses-0_FLAIR.nii.gz",
        "sub-00_ses-0_T1w.nii.gz",
    ]
    call("folds", tmp_path / "new", "--output", tmp_path / "splits_final.json")
    for fold in read_folds(tmp_path / "splits_final.json"):
        assert fold.val
        assert not {name[:6] for name in fold.train} & {name[:6] for name in fold.val}
    (bids / "derivatives" / "labels" / "dseg.tsv").write_text("index\tname\n1\torgan\n2\tlesion\n")
    call("import", "bids", bids, "--output", tmp_path / "named", "--channels", "T1w")
    named = read_dataset(tmp_path / "named")
    assert named.channel_names == ("T1w",)
    assert named.labels.as_json["labels"] == {"background": 0, "organ": 1, "lesion": 2}


@pytest.fixture
def table(tmp_path):
    """A function that writes a table of six cases with changed columns, and gives the file."""
    for number in range(6):
        write(tmp_path / "files" / f"im{number}.nii.gz", np.zeros((4, 5, 6), np.int16))
        write(tmp_path / "files" / f"case {number}.nii.gz", labels_of(number))

    def make(**columns):
        content = {
            "image_CT": [f"files/im{n}.nii.gz" for n in range(6)],
            "label": [f"files/case {n}.nii.gz" for n in range(6)],
        }
        file = tmp_path / "cases.csv"
        pd.DataFrame(content | columns).to_csv(file, index=False)
        return file

    return make


def test_a_table(table, tmp_path):
    call(
        "import",
        "table",
        table(patient=list("aabbcc"), fold=[0, 0, 1, 1, 2, 2]),
        "--output",
        tmp_path / "new",
    )
    found = read_dataset(tmp_path / "new")
    assert found.channel_names == ("CT",)
    assert [case.identifier for case in found.cases] == [f"case {n}" for n in range(6)]
    folds = read_folds(tmp_path / "new" / "splits_final.json")
    assert [fold.val for fold in folds] == [("case 0", "case 1"), ("case 2", "case 3"), ("case 4", "case 5")]


def test_a_table_of_pictures_in_colour_with_masks_of_another_format(tmp_path, capsys):
    """JPEG pictures have PNG masks; values with gaps are refused, since no data set may have them."""
    shape = (1, 8, 9)
    for number in range(2):
        Image.new("RGB", (9, 8), (number, 50, 99)).save(tmp_path / f"im{number}.jpg")
        write(tmp_path / f"{number}.png", np.full(shape, number, np.uint8))
    file = tmp_path / "cases.csv"
    file.write_text("image_rgb,label\nim0.jpg,0.png\nim1.jpg,1.png\n")
    call("import", "table", file, "--output", tmp_path / "new")
    call("check", tmp_path / "new")
    found = read_dataset(tmp_path / "new")
    assert (found.channel_names, found.file_ending) == (("rgb_0", "rgb_1", "rgb_2"), ".jpg")
    write(tmp_path / "1.png", np.full(shape, 255, np.uint8))
    assert main(["import", "table", str(file), "--output", str(tmp_path / "other")]) == 1
    said = capsys.readouterr().err
    assert f"labels of {file}: label values must be consecutive from 0, found [0, 255]; renumber them" in said
    assert not [*(tmp_path / "other").iterdir()]


@pytest.mark.parametrize("left", ["dataset.json", "splits_final.json", "patients.csv"])
def test_what_an_earlier_import_has_left_does_not_decide(table, left, tmp_path, capsys):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / left).touch()
    assert main(["import", "table", str(table()), "--output", str(tmp_path / "new")]) == 1
    assert f"{left} exists already; choose another folder or remove it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": ["files/case 0.nii.gz"] * 6}, "line 3: there are two cases case 0"),
        (
            {"label": ["files/case 0.nii.gz", *[""] * 5]},
            "line 3: column label is empty; fill it, or remove the line",
        ),
        ({"image_CT": ["files/none.nii.gz"] * 6}, "case case 0: .*none.nii.gz does not exist"),
        ({"fold": ["first"] * 6}, r"line 2: fold must be a number from 0, found 'first'"),
        ({"fold": [-1] * 6}, r"line 2: fold must be a number from 0, found '-1'"),
        ({"fold": [0, 0, 0, 2, 2, 2]}, "column fold: fold 1 has no training or no held-out cases"),
        (
            {"patient": list("aabbcc"), "fold": [0, 1, 1, 0, 2, 2]},
            "column fold: fold 0 trains on case 1 and holds out case 0, which are of one patient, a; hold them out",
        ),
        ({"patient": ["a", "a", "", "", "", ""]}, "case case 2 has no patient, but others have"),
    ],
)
def test_a_table_that_is_wrong(table, tmp_path, capsys, columns, message):
    assert main(["import", "table", str(table(**columns)), "--output", str(tmp_path / "new")]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "new" / "dataset.json").exists()


def test_what_is_not_in_the_layout(task, bids, tmp_path, capsys):
    def refused(*words):
        assert main(["import", *map(str, words), "--output", str(tmp_path / "new")]) == 1
        return capsys.readouterr().err

    assert "bids/dataset.json does not exist" in refused("msd", bids)
    (bids / "dataset.json").write_text("{}")
    assert "is not that of the Decathlon" in refused("msd", bids)
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"no archive")
    assert "broken.tar cannot be unpacked" in refused("msd", broken)
    assert "holds no label map sub-....nii.gz" in refused("bids", task)
    assert "it needs one image ..._bold.nii.gz, found none" in refused("bids", bids, "--channels", "bold")
    assert "msd takes no --channels and no --label; leave that out" in refused(
        "msd", task, "--channels", "T1w", "--label", "organ"
    )
    (tmp_path / "empty.csv").write_text("")
    assert "cannot be read as a table" in refused("table", tmp_path / "empty.csv")
    (task / "labelsTr" / "organ_0.nii.gz").rename(task / "labelsTr" / "organ_0.nii")
    assert "case organ_0: " in refused("msd", task)
    assert main(["check", str(task)]) == 1
    assert f"call segflow import msd {task} --output FOLDER" in capsys.readouterr().err


@pytest.mark.data
@pytest.mark.slow
def test_the_hippocampus_as_an_archive_of_the_decathlon(shared, tmp_path):
    """Fingerprint, plan and folds are those of the raw layout."""
    raw = shared / "data" / "hippocampus"
    folder = tmp_path / "Task04_Hippocampus"
    names = [file.name for file in sorted((raw / "labelsTr").glob("*.nii.gz"))]
    for kind, ending in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
        (folder / kind).mkdir(parents=True)
        for name in names:
            source = raw / kind / name.replace(".nii.gz", ending)
            (folder / kind / name).symlink_to(source.resolve())
    content = json.loads((raw / "dataset.json").read_text())
    content["modality"] = content.pop("channel_names")
    content["labels"] = {str(value): name for name, value in content["labels"].items()}
    content.pop("file_ending")
    content["training"] = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names]
    (folder / "dataset.json").write_text(json.dumps(content))
    archive = tmp_path / "Task04_Hippocampus.tar"
    with tarfile.open(archive, "w", dereference=True) as opened:
        opened.add(folder, folder.name)
    new = tmp_path / "a" / "hippocampus"
    call("import", "msd", archive, "--output", new)
    for place, data in (("a", new), ("b", raw)):
        out = tmp_path / place
        call("fingerprint", data, "--output", out / "fingerprint.json")
        call("folds", data, "--output", out / "folds.json")
        call(
            "plan", "--dataset", data, "--fingerprint", out / "fingerprint.json", "--output", out / "plans.json",
            "--no-forecast",
        )  # fmt: skip
    for name in ("fingerprint.json", "folds.json", "plans.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
