"""What else a data set may be: other formats, other places, odd names, readers of nnU-Net."""

from __future__ import annotations

import pytest
from image_samples import FILES

from segflow.contracts.errors import DatasetError
from segflow.images.dataset import find_inputs, list_files, read_dataset, reader_warnings, stray_labels


@pytest.mark.parametrize("ending", [".NII.GZ", ".PNG", ".Tif"])
def test_endings_are_found_as_they_are_written(ending, make):
    folder = make(ending=ending, file_ending=ending)
    assert [case.label.name for case in read_dataset(folder).cases] == [f"a{ending}", f"b{ending}"]
    with pytest.raises(DatasetError, match="holds no file named"):
        find_inputs([folder / "imagesTr"], ending.swapcase(), 2)


def test_old_name_goes_behind_the_new_one(make):
    folder = make(modality={"0": "CT"})
    assert read_dataset(folder).channel_names == ("T1", "T2")


def test_odd_identifiers(make):
    names = ("a b", "a.b", "ünï-ç", "b_0000", "c.nii.gz", "x_12")
    files = [f"imagesTr/{name}_000{channel}" for name in names for channel in (0, 1)]
    folder = make(files=[*files, *(f"labelsTr/{name}" for name in names)], numTraining=len(names))
    assert [case.identifier for case in read_dataset(folder).cases] == sorted(names)


def test_hidden_files_are_no_cases(make):
    folder = make(files=(*FILES, "imagesTr/._a_0000", "imagesTr/.9.a_0000", "labelsTr/._a"))
    dataset = read_dataset(folder)
    assert [case.identifier for case in dataset.cases] == ["a", "b"]
    assert stray_labels(dataset) == ()
    assert list(list_files(folder)) == ["a", "b"]


@pytest.fixture
def lossy(make):
    """A data set in JPEG."""

    def lay_out(ending=".jpg", labels=".png"):
        folder = make(
            files=("imagesTr/a_0000", "imagesTr/b_0000"),
            ending=ending,
            file_ending=ending,
            channel_names={"0": "R", "1": "G", "2": "B"},
        )
        (folder / "labelsTr").mkdir()
        for name in ("a", "b", "c"):
            (folder / "labelsTr" / f"{name}{labels}").touch()
        return folder

    return lay_out


@pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".JPG"])
def test_labels_beside_jpeg_are_png(ending, lossy):
    folder = lossy(ending)
    dataset = read_dataset(folder)
    assert [case.label for case in dataset.cases] == [
        folder / "labelsTr" / "a.png",
        folder / "labelsTr" / "b.png",
    ]
    assert stray_labels(dataset) == (folder / "labelsTr" / "c.png",)
    assert list_files(folder)["a"] == (folder / "imagesTr" / f"a_0000{ending}", folder / "labelsTr" / "a.png")


def test_labels_in_jpeg(lossy):
    with pytest.raises(
        DatasetError, match=r"case a: label file .*a\.jpg is JPEG, which changes .*: make .*a\.png from"
    ):
        read_dataset(lossy(labels=".jpg"))


def test_what_belongs_to_a_file_is_listed_with_it(make):
    folder = make(ending=".mhd", file_ending=".mhd")
    for name in ("imagesTr/a_0000", "imagesTr/a_0001", "labelsTr/a"):
        (folder / f"{name}.mhd").write_text(f"ElementDataFile = {name.split('/')[1]}.raw\n")
        (folder / f"{name}.raw").touch()
    names = [str(file.relative_to(folder)) for file in list_files(folder)["a"]]
    assert names == [
        *(f"{name}.mhd" for name in ("imagesTr/a_0000", "imagesTr/a_0001", "labelsTr/a")),
        *(f"{name}.raw" for name in ("imagesTr/a_0000", "imagesTr/a_0001", "labelsTr/a")),
    ]


def test_a_side_file_is_listed_once(make):
    folder = make(ending=".tif", file_ending=".tif")
    (folder / "imagesTr" / "a.json").touch()
    (folder / "labelsTr" / "a.json").touch()
    names = [str(file.relative_to(folder)) for file in list_files(folder)["a"]]
    assert names[3:] == ["imagesTr/a.json", "labelsTr/a.json"]


def test_labels_of_listed_cases_may_lie_anywhere(make, monkeypatch, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "lesion.mha").touch()
    monkeypatch.setenv("SEGFLOW_TEST_LABELS", str(elsewhere))
    images = ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"]
    folder = make(
        dataset={"a": {"images": images, "label": "${SEGFLOW_TEST_LABELS}/lesion.mha"}}, numTraining=1
    )
    (case,) = read_dataset(folder).cases
    assert case.label == elsewhere / "lesion.mha"
    assert list_files(folder)["a"] == (*case.images, case.label)


@pytest.mark.parametrize("name", [None, "None", "SimpleITKIO", "NaturalImage2DIO", "Tiff3DIO", "NibabelIO"])
def test_readers_that_ours_stands_for(name, make):
    folder = make(overwrite_image_reader_writer=name)
    assert reader_warnings(folder) == ()
    assert len(read_dataset(folder).cases) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "NibabelIOWithReorient",
            "is NibabelIOWithReorient, but images are never re-oriented here: axes are taken",
        ),
        ("SimpleITKIOWithReorient", "is SimpleITKIOWithReorient, but images are never re-oriented"),
        ("MyReader", "is 'MyReader', which is unknown and ignored; file_ending chooses the reader"),
    ],
)
def test_readers_that_ours_cannot_stand_for(name, message, make):
    folder = make(overwrite_image_reader_writer=name)
    (warning,) = reader_warnings(folder)
    assert message in warning
    assert warning.startswith(f"{folder / 'dataset.json'}: overwrite_image_reader_writer ")
    assert len(read_dataset(folder).cases) == 2


def test_no_reader_is_asked_for(make):
    assert reader_warnings(make()) == ()
