"""Cases: files that do not belong together, lie elsewhere, hold several channels or lack their spacing."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from image_samples import save

from segflow.contracts.case import Case, Geometry
from segflow.contracts.errors import DatasetError
from segflow.images.cases import read_case, read_geometry, read_image, read_labels, write_labels
from segflow.images.image_files import write_image

GEOMETRY = Geometry(
    shape=(3, 4, 5),
    spacing_mm=(2.5, 1.5, 0.5),
    file_dimensions=3,
    file_spacing_mm=(0.5, 1.5, 2.5),
    origin_mm=(-12.5, 7.25, 100.0),
    direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
)


def test_sound_case(write_case):
    channels, labels = np.random.default_rng(0).normal(size=(2, 3, 4, 5)), np.ones((3, 4, 5))
    raw = read_case(write_case(channels, labels), channels=2)
    np.testing.assert_array_equal(raw.image, channels.astype(np.float32))
    np.testing.assert_array_equal(raw.labels, labels)
    assert raw.labels.dtype == np.int16  # whole numbers, though stored as floats
    assert (raw.identifier, raw.warnings) == ("one", ())
    assert read_case(write_case(channels), channels=2).labels is None


@pytest.mark.parametrize("n_files", [1, 3])
def test_wrong_number_of_channels(n_files, write_case):
    case = write_case(np.zeros((n_files, 2, 2, 2)))
    message = rf"case one: {n_files} channels in .*one_0000\.mha.*, but dataset\.json names 2"
    with pytest.raises(DatasetError, match=message):
        read_case(case, channels=2)


def test_channels_that_were_read_as_slices(write_case):
    message = r"1 channels in .* names 3; .* \(if its 3 slices are the channels, save each as a file\)"
    with pytest.raises(DatasetError, match=message):
        read_case(write_case(np.zeros((1, 3, 4, 5))), channels=3)


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
    ],
)
def test_files_that_do_not_fit(channels, labels, message, write_case):
    with pytest.raises(DatasetError, match=rf"^case one: .*{message}"):
        read_case(write_case(channels, labels), channels=len(channels))


def test_spacing_may_differ_by_rounding(write_case):
    case = write_case([(GOOD, (1.0, 1.0, 0.7812))], (GOOD, (1.0, 1.0, 0.78125)))
    assert read_case(case, channels=1).labels is not None


def test_no_file():
    with pytest.raises(DatasetError, match="case a: no image file"):
        read_image([], case="a")


@pytest.mark.parametrize("name", ["one_0001.mha", "one.mha"])
@pytest.mark.parametrize(
    ("origin", "direction", "words"),
    [((0, 0, 0), -1, "direction"), ((0, 0.1, 0), 1, "origin"), ((0, 1e-4, 0), 1, None)],
)
def test_files_that_lie_elsewhere_are_a_warning(name, origin, direction, words, write_case, tmp_path):
    case = write_case([GOOD, GOOD + 1], GOOD)
    image = sitk.ReadImage(str(tmp_path / name))
    image.SetOrigin(origin)
    image.SetDirection((direction, 0, 0, 0, direction, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / name))
    raw = read_case(case, channels=2)
    assert raw.image.max() == 1
    if words is None:
        assert raw.warnings == ()
    else:
        (warning,) = raw.warnings
        assert warning.startswith(
            f"case one: {tmp_path / name} and {tmp_path / 'one_0000.mha'} differ in {words};"
        )


def test_files_of_several_channels(tmp_path):
    colours = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    files = [
        save(tmp_path / "a_0000.png", colours[..., 0]),
        save(tmp_path / "a_0001.png", colours, is_vector=True),
        save(tmp_path / "a_0002.png", colours[..., 1]),
    ]
    image, _ = read_image(files, case="a")
    expected = [colours[..., 0], *np.moveaxis(colours, -1, 0), colours[..., 1]]
    np.testing.assert_array_equal(image[:, 0], expected)
    raw = read_case(Case("a", tuple(files)), channels=5)
    np.testing.assert_array_equal(raw.image, image)


STACK = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)


def test_a_stack_without_a_side_file(tmp_path):
    case = Case("a", (save(tmp_path / "a_0000.tif", STACK),), save(tmp_path / "label.tif", STACK))
    raw = read_case(case, channels=1)
    assert raw.geometry.spacing_mm == (1, 1, 1)
    (warning,) = raw.warnings
    assert warning == (
        f"case a: there is no {tmp_path / 'a.json'} with the spacing of a_0000.tif, so it is taken for 1 mm along "
        "all axes"
    )


def test_a_stack_lends_its_spacing_to_its_labels(tmp_path):
    case = Case("a", (save(tmp_path / "a_0000.tif", STACK),), save(tmp_path / "label.tif", STACK))
    (tmp_path / "a.json").write_text('{"spacing": [3, 2, 1]}')
    raw = read_case(case, channels=1)
    assert (raw.geometry.spacing_mm, raw.warnings) == ((3, 2, 1), ())
    (tmp_path / "label.json").write_text('{"spacing": [3, 2, 1]}')
    assert read_case(case, channels=1).warnings == ()
    (tmp_path / "label.json").write_text('{"spacing": [3, 3, 1]}')
    with pytest.raises(DatasetError, match=r"case a: .*label\.tif has spacing \(3\.0, 3\.0, 1\.0\)"):
        read_case(case, channels=1)


@pytest.mark.parametrize("odd", [0.9999999, -1.5, float("nan"), float("inf"), 2.0**40])
def test_label_values_that_are_not_whole_are_named(odd, tmp_path):
    values = np.ones((2, 3, 4))
    values[1, 2, 3] = odd
    with pytest.raises(DatasetError, match=rf"not whole 32-bit numbers, such as {odd!r}; round them"):
        read_labels(save(tmp_path / "a.nii.gz", values), case="a")


def test_a_flat_label_map_beside_a_volume_of_one_slice(tmp_path):
    image = save(tmp_path / "a_0000.nii.gz", STACK[:1])
    case = Case("a", (image,), save(tmp_path / "a.nii.gz", STACK[0]))
    with pytest.raises(
        DatasetError, match=r"a\.nii\.gz is a 2D image, but .*a_0000\.nii\.gz is a volume of one slice"
    ):
        read_case(case, channels=1)


def test_labels_in_jpeg(tmp_path):
    file = save(tmp_path / "a.jpg", np.zeros((4, 5), np.uint8))
    with pytest.raises(
        DatasetError, match=r"case a: label file .*a\.jpg is JPEG, .*save the labels as \.png"
    ):
        read_labels(file, case="a")


@pytest.mark.parametrize("identifier", ["a b", "a.b", "ünï-ç_ö", "a_0001", "c.nii.gz"])
@pytest.mark.parametrize("ending", [".nii.gz", ".mhd", ".tif"])
def test_odd_identifiers(identifier, ending, tmp_path):
    files = [tmp_path / f"{identifier}_000{number}{ending}" for number in range(2)]
    for file in files:
        write_image(file, np.float32(STACK), GEOMETRY)
    image, geometry = read_image(files, case=identifier)
    np.testing.assert_array_equal(image, [STACK, STACK])
    label = tmp_path / "out" / f"{identifier}{ending}"
    write_labels(label, STACK, geometry)
    np.testing.assert_array_equal(read_labels(label, case=identifier), STACK)
    assert read_geometry(label, case=identifier) == geometry
