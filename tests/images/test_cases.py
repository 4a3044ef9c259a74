"""Image files: formats, geometry, and cases whose files do not fit."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from io_samples import save

from segflow.contracts.case import Case, Geometry
from segflow.contracts.errors import DatasetError
from segflow.images.cases import read_case, read_geometry, read_image, read_labels, write_image, write_labels

OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
VOLUMES = [".nii.gz", ".nii", ".nrrd", ".mha"]


def geometry_of(shape=(3, 4, 5), spacing_mm=(2.5, 1.5, 0.5), direction=OBLIQUE):
    return Geometry(
        shape=shape,
        spacing_mm=spacing_mm,
        file_dimensions=3,
        file_spacing_mm=spacing_mm[::-1],
        origin_mm=(-12.5, 7.25, 100.0),
        direction=direction,
    )


def flat_geometry(shape=(4, 5)):
    return Geometry(
        shape=(1, *shape),
        spacing_mm=(999.0, 1.0, 1.0),
        file_dimensions=2,
        file_spacing_mm=(1.0, 1.0),
        origin_mm=(0.0, 0.0),
        direction=(1.0, 0.0, 0.0, 1.0),
    )


def check_geometry(found, expected):
    assert found.shape == expected.shape
    assert found.file_dimensions == expected.file_dimensions
    for name in ("spacing_mm", "file_spacing_mm", "origin_mm", "direction"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-5, err_msg=name)


@pytest.mark.parametrize("ending", VOLUMES)
@pytest.mark.parametrize(
    "direction", [OBLIQUE, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)], ids=["oblique", "straight"]
)
def test_labels_round_trip(ending, direction, tmp_path, frozen):
    labels = frozen(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
    geometry = geometry_of(direction=direction)
    write_labels(tmp_path / f"a{ending}", labels, geometry)
    found = read_labels(tmp_path / f"a{ending}", case="a")
    np.testing.assert_array_equal(found, labels)
    assert found.dtype == np.int16
    check_geometry(read_geometry(tmp_path / f"a{ending}", case="a"), geometry)
    assert sitk.ReadImage(str(tmp_path / f"a{ending}")).GetPixelID() == sitk.sitkUInt8


@pytest.mark.parametrize("ending", VOLUMES)
def test_image_round_trip(ending, tmp_path, frozen):
    channels = frozen(np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32))
    files = [tmp_path / f"a_{number:04d}{ending}" for number in range(2)]
    for file, channel in zip(files, channels, strict=True):
        write_image(file, channel, geometry_of())
    image, geometry = read_image(files, case="a")
    np.testing.assert_array_equal(image, channels)
    assert image.dtype == np.float32
    check_geometry(geometry, geometry_of())


@pytest.mark.parametrize("ending", [".png", ".tif", ".nrrd", ".mha"])
def test_flat_labels_round_trip(ending, tmp_path, frozen):
    labels = frozen(np.arange(20, dtype=np.uint8).reshape(1, 4, 5))
    write_labels(tmp_path / f"a{ending}", labels, flat_geometry())
    np.testing.assert_array_equal(read_labels(tmp_path / f"a{ending}", case="a"), labels)
    check_geometry(read_geometry(tmp_path / f"a{ending}", case="a"), flat_geometry())


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_many_labels_in_a_flat_file(ending, tmp_path):
    labels = np.array([[[0, 300, 65535]]], np.uint16)
    write_labels(tmp_path / f"a{ending}", labels, flat_geometry((1, 3)))
    found = read_labels(tmp_path / f"a{ending}", case="a")
    np.testing.assert_array_equal(found, labels)
    assert found.dtype == np.int32


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_colours_are_channels(ending, tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (4, 5, 3)).astype(np.uint8)
    file = save(tmp_path / f"a_0000{ending}", colours, is_vector=True)
    raw = read_case(Case("a", (file,)), channels=3)
    np.testing.assert_array_equal(raw.image, colours.transpose(2, 0, 1)[:, None])
    check_geometry(raw.geometry, flat_geometry())


def test_stack_of_slices(tmp_path):
    volume = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    image, geometry = read_image([save(tmp_path / "a_0000.tif", volume)], case="a")
    np.testing.assert_array_equal(image[0], volume)
    assert geometry.file_dimensions == 3


def test_fourth_axis_is_channels(tmp_path):
    array = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    volumes = [sitk.GetImageFromArray(volume) for volume in array]
    for volume in volumes:
        volume.SetSpacing((0.5, 1.5, 2.5))
    sitk.WriteImage(sitk.JoinSeries(volumes), str(tmp_path / "a_0000.nii.gz"))
    raw = read_case(Case("a", (tmp_path / "a_0000.nii.gz",)), channels=2)
    np.testing.assert_array_equal(raw.image, array)
    assert raw.geometry.spacing_mm == (2.5, 1.5, 0.5)
    assert len(raw.geometry.direction) == 9


def test_flat_file_is_never_resampled_through_plane(tmp_path):
    image = sitk.GetImageFromArray(np.zeros((4, 5), np.uint8))
    image.SetSpacing((0.5, 0.25))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    assert read_geometry(tmp_path / "a.mha", case="a").spacing_mm == (499.5, 0.25, 0.5)


def test_sound_case(write_case):
    channels, labels = np.random.default_rng(0).normal(size=(2, 3, 4, 5)), np.ones((3, 4, 5))
    raw = read_case(write_case(channels, labels), channels=2)
    np.testing.assert_array_equal(raw.image, channels.astype(np.float32))
    np.testing.assert_array_equal(raw.labels, labels)
    assert raw.labels.dtype == np.int16  # whole numbers, though stored as floats
    assert raw.identifier == "one"


def test_no_label_file(write_case):
    assert read_case(write_case(np.zeros((1, 2, 2, 2))), channels=1).labels is None


@pytest.mark.parametrize("n_files", [1, 3])
def test_wrong_number_of_channels(n_files, write_case):
    case = write_case(np.zeros((n_files, 2, 2, 2)))
    message = rf"case one: {n_files} channels in .*one_0000\.mha.*, but dataset\.json names 2"
    with pytest.raises(DatasetError, match=message):
        read_case(case, channels=2)


GOOD = np.zeros((3, 4, 5))
HOLE = np.where(np.arange(60).reshape(3, 4, 5) == 7, np.nan, 1.0)


@pytest.mark.parametrize(
    ("channels", "labels", "message"),
    [
        ([GOOD, GOOD[:2]], None, r"one_0001\.mha has shape \(2, 4, 5\) .*one_0000\.mha has \(3, 4, 5\)"),
        ([GOOD], GOOD[:, :2], r"one\.mha has shape \(3, 2, 5\) \(z, y, x\)"),
        ([GOOD, (GOOD, (2.0, 1.0, 1.0))], None, r"one_0001\.mha has spacing \(2\.0, 1\.0, 1\.0\) mm"),
        ([GOOD], (GOOD, (1.0, 1.0, 1.01)), r"one\.mha has spacing"),
        ([GOOD, HOLE], None, r"one_0001\.mha holds NaN"),
        ([GOOD, np.where(HOLE == 1, 1, -np.inf)], None, r"one_0001\.mha holds NaN or infinite"),
        (
            [np.where(HOLE == 1, 1, 1e39)],
            None,
            r"one_0000\.mha holds NaN or infinite voxels \(or beyond 3e38\)",
        ),
        ([GOOD], HOLE, r"one\.mha holds values that are not whole"),
        ([GOOD], GOOD + 0.5, r"label file .*one\.mha holds values that are not whole"),
        ([GOOD], np.where(HOLE == 1, 1, np.inf), r"one\.mha holds values that are not whole"),
        ([GOOD], np.full((3, 4, 5), 2**40), r"one\.mha holds values that are not whole 32-bit"),
    ],
    ids=[
        "shape",
        "label-shape",
        "spacing",
        "label-spacing",
        "nan",
        "infinite",
        "too-large",
        "label-nan",
        "label-fraction",
        "label-inf",
        "label-64-bit",
    ],
)
def test_files_that_do_not_fit(channels, labels, message, write_case):
    with pytest.raises(DatasetError, match=rf"^case one: .*{message}"):
        read_case(write_case(channels, labels), channels=len(channels))


def test_spacing_may_differ_by_rounding(write_case):
    case = write_case([(GOOD, (1.0, 1.0, 0.7812))], (GOOD, (1.0, 1.0, 0.78125)))
    assert read_case(case, channels=1).labels is not None


def test_labels_in_colour(tmp_path):
    file = save(tmp_path / "a.png", np.zeros((4, 5, 3), np.uint8), is_vector=True)
    with pytest.raises(DatasetError, match=r"case a: label file .*a\.png has 3 channels; it must have one"):
        read_labels(file, case="a")


@pytest.mark.parametrize("content", [None, b"", b"no image"])
@pytest.mark.parametrize("ending", [".nii.gz", ".png", ".xyz"])
def test_unreadable_file(ending, content, tmp_path):
    file = tmp_path / f"a_0000{ending}"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"case a: cannot read .*a_0000{ending}: \S"):
        read_image([file], case="a")


def test_no_file():
    with pytest.raises(DatasetError, match="case a: no image file"):
        read_image([], case="a")


def test_an_unwritable_ending_leaves_nothing(tmp_path):
    with pytest.raises(DatasetError, match="its ending is none of"):
        write_labels(tmp_path / "a.xyz", np.zeros((3, 4, 5), np.uint8), geometry_of())
    assert list(tmp_path.iterdir()) == []
