"""Every format: value types, geometry, and files that are damaged or of another format."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
from image_samples import noise, read_one, refused_cuts, save

from segflow.contracts.errors import DatasetError
from segflow.images import image_files, itk
from segflow.images.cases import read_geometry, read_labels
from segflow.images.formats import DICOM, ENDINGS
from segflow.images.itk import captured_stderr

FLAT = [".png", ".bmp", ".jpg", ".jpeg"]
VOLUMES = [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl", ".tif", ".tiff"]
MISSING_DATA = b"NDims = 3\nDimSize = 5 4 3\nElementType = MET_UCHAR\nElementDataFile = a.raw"
TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]


def test_each_ending_has_a_format():
    assert tuple(image_files._READERS) == (*ENDINGS, DICOM)


@pytest.mark.parametrize(
    ("ending", "kind"),
    [(ending, kind) for ending in (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd") for kind in TYPES]
    + [(".gipl", kind) for kind in ("uint8", "int8", "uint16", "int16", "float32", "float64")],
)
@pytest.mark.parametrize("axes", [2, 3])
def test_value_types(kind, ending, axes, tmp_path):
    if (ending, axes) == (".gipl", 2):
        pytest.skip("the format has 3 axes")
    array = noise((3, 4, 5)[-axes:], kind, 100) - np.array(50 * (kind[0] in "if"), kind)
    file = save(tmp_path / f"a_0000{ending}", array, compressed=True)
    image, geometry = read_one(file)
    np.testing.assert_array_equal(image[0], array.reshape(geometry.shape))
    assert (image.dtype, geometry.file_dimensions) == (np.float32, axes)
    labels = read_labels(file, case="a")
    np.testing.assert_array_equal(labels, image[0])
    assert labels.dtype == np.int16
    assert labels.flags.writeable
    assert image.flags.writeable
    assert read_geometry(file, case="a") == geometry


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd", ".nii.gz"])
def test_vectors_are_channels(ending, tmp_path):
    array = noise((3, 4, 5, 2), "float32")
    file = save(tmp_path / f"a_0000{ending}", array, is_vector=True)
    image, geometry = read_one(file)
    np.testing.assert_array_equal(image, np.moveaxis(array, -1, 0))
    assert geometry == read_geometry(file, case="a")
    assert geometry.shape == (3, 4, 5)


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii", ".nii.gz"])
def test_a_fourth_axis_is_channels(ending, tmp_path):
    array = noise((2, 3, 4, 5), "int16")
    volumes = [sitk.GetImageFromArray(volume) for volume in array]
    for volume in volumes:
        volume.SetSpacing((0.5, 1.5, 2.5))
    file = tmp_path / f"a_0000{ending}"
    sitk.WriteImage(sitk.JoinSeries(volumes), str(file))
    image, geometry = read_one(file)
    np.testing.assert_array_equal(image, array)
    assert geometry == read_geometry(file, case="a")
    assert (geometry.spacing_mm, len(geometry.origin_mm), len(geometry.direction)) == ((2.5, 1.5, 0.5), 3, 9)


def test_a_flat_file_is_never_resampled_through_plane(tmp_path):
    file = save(tmp_path / "a.mha", np.zeros((4, 5), np.uint8), (0.25, 0.5))
    assert read_geometry(file, case="a").spacing_mm == (499.5, 0.25, 0.5)


@pytest.mark.parametrize("ending", [*FLAT, ".tif", ".tiff", ".PNG", ".TIF", ".BMP", ".JPG"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("side", [None, (5.0, 0.25, 0.5)])
def test_spacing_of_pictures_is_in_the_side_file_not_in_their_tags(ending, mode, side, tmp_path):
    array = np.full((4, 5) if mode == "L" else (4, 5, 3), 7, np.uint8)
    file = tmp_path / f"a_0000{ending}"
    PIL.Image.fromarray(array).save(file, dpi=(300, 300))
    if side is not None:
        (tmp_path / "a.json").write_text(json.dumps({"spacing": side}))
    image, geometry = read_one(file)
    assert image.shape == (1 if mode == "L" else 3, 1, 4, 5)
    assert abs(image - 7).max() <= (1 if "j" in ending.lower() else 0)
    spacing = side or (999.0, 1.0, 1.0)
    assert geometry == read_geometry(file, case="a")
    assert (geometry.shape, geometry.spacing_mm) == ((1, 4, 5), spacing)
    assert (geometry.file_dimensions, geometry.file_spacing_mm) == (2, spacing[:0:-1])
    assert (geometry.origin_mm, geometry.direction) == ((0, 0), (1, 0, 0, 1))


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_colours_are_channels(ending, channels, kind, tmp_path):
    array = noise((4, 5, channels), kind) * (1 if kind == "uint8" else 300)
    image, _ = read_one(save(tmp_path / f"a_0000{ending}", array, is_vector=True))
    np.testing.assert_array_equal(image, np.moveaxis(array, -1, 0)[:, None])


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_an_axis_of_negative_spacing_is_turned_round(ending, tmp_path):
    """As nnU-Net has it, which reads geometry and voxels at once."""
    file = save(tmp_path / f"a_0000{ending}", noise((3, 4, 5)), (3.0, 2.0, 1.0))
    content = file.read_bytes()
    if ending == ".mha":
        content = content.replace(b"ElementSpacing = 1 2 3", b"ElementSpacing = -1 2 -3")
    else:
        head, voxels = content.split(b"\n\n", 1)
        lines = [line for line in head.splitlines() if not line.startswith((b"space", b"kinds"))]
        content = b"\n".join([*lines, b"spacings: -1 2 -3"]) + b"\n\n" + voxels
    file.write_bytes(content)
    image, geometry = sitk.ReadImage(str(file)), read_geometry(file, case="a")
    assert (geometry.file_spacing_mm, geometry.direction) == (image.GetSpacing(), image.GetDirection())
    assert geometry.direction == (-1, 0, 0, 0, 1, 0, 0, 0, -1)


def test_colours_and_greys_of_bmp(tmp_path):
    array = noise((4, 5, 3))
    for pixels in (array, array[..., 0]):
        PIL.Image.fromarray(pixels).save(tmp_path / "a_0000.bmp")
        image, _ = read_one(tmp_path / "a_0000.bmp")
        np.testing.assert_array_equal(image[:, 0], np.moveaxis(np.atleast_3d(pixels), -1, 0))


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
def test_masks_of_one_bit_are_0_and_1(ending, tmp_path):
    array = noise((4, 50), "bool")
    PIL.Image.fromarray(array).save(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(read_labels(tmp_path / f"a{ending}", case="a")[0], array)


def test_geometry_is_read_without_voxels(tmp_path, monkeypatch):
    for ending in (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl"):
        file = save(tmp_path / f"a{ending}", noise((3, 4, 5)))
        _, expected = read_one(file)
        with monkeypatch.context() as patch:
            patch.delattr(itk.sitk.ImageFileReader, "Execute")
            assert read_geometry(file, case="a") == expected
        file.unlink()


def test_an_image_without_voxels_and_one_of_five_axes(tmp_path):
    file = tmp_path / "a_0000.mha"
    file.write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 0 4 5\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    with pytest.raises(DatasetError, match=r"case a: cannot read .*a_0000\.mha: it has no voxels; replace"):
        read_one(file)
    image = sitk.JoinSeries([sitk.JoinSeries([sitk.GetImageFromArray(np.zeros((3, 4, 5)))] * 2)] * 2)
    sitk.WriteImage(image, str(file))
    for read in (read_one, lambda file: read_geometry(file, case="a")):
        with pytest.raises(DatasetError, match="has 5 axes; 2 or 3 are possible, and a fourth for channels"):
            read(file)


@pytest.mark.parametrize(
    ("ending", "content", "message"),
    [
        (".nii.gz", None, "it does not exist"),
        (".xyz", b"", r"its ending is none of \.nii\.gz"),
        (".mhd", MISSING_DATA, "MetaImage: Read: Cannot open data file"),
        *((ending, b"", r"\S") for ending in (".nii.gz", ".png", ".tif")),
    ],
)
def test_unreadable_file(ending, content, message, tmp_path):
    file = tmp_path / f"a_0000{ending}"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"case a: cannot read .*a_0000{ending}: {message}"):
        read_one(file)


@pytest.fixture
def whole(tmp_path):
    """Write a file of a format; give it, and the file that holds its voxels."""

    def write(ending, *, compressed=True):
        array = noise((40, 50) if ending in FLAT else (6, 40, 50))
        file = tmp_path / f"a_0000{ending}"
        if ending in {".bmp", ".jpg", ".jpeg"}:
            PIL.Image.fromarray(array).save(file)
        else:
            save(file, array, compressed=compressed)
        data = next((other for other in tmp_path.iterdir() if other != file), file)
        return file, data

    return write


@pytest.mark.parametrize("ending", VOLUMES + FLAT)
@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_that_was_cut_short_is_refused(ending, compressed, whole, capfd):
    """At most the end of a file that holds no voxels may be missing."""
    file, data = whole(ending, compressed=compressed)
    size = data.stat().st_size
    cuts = sorted({0, 1, 20, 100, 352, *range(0, size, max(size // 20, 1)), size - 100})
    assert len(refused_cuts(file, data, cuts)) >= len(cuts) - 2
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("ending", "other"),
    [
        (ending, other)
        for ending in [*VOLUMES[:-1], ".png", ".bmp", ".jpg"]
        for other in (".png", ".nrrd", ".jpg", ".tif", ".mha", "text")
        if other != ending
    ],
)
def test_a_file_of_another_format_is_refused(ending, other, whole, tmp_path, capfd):
    file = tmp_path / f"b_0000{ending}"
    if other == "text":
        file.write_text("no image at all, but some text that is long enough\n" * 20)
    else:
        shutil.copy(whole(other)[0], file)
    if (other, ending) == (".mha", ".mhd"):  # a header may be followed by the voxels
        assert read_one(file)[0].shape == (1, 6, 40, 50)
        return
    for read in (read_one, lambda file: read_geometry(file, case="a")):
        with pytest.raises(DatasetError, match=rf"^case a: cannot read .*b_0000{ending}: .{{10}}"):
            read(file)
    assert capfd.readouterr() == ("", "")


def test_what_libraries_print_is_collected_and_not_shown(capfd):
    with captured_stderr() as lines:
        os.write(2, b"  one\n\n\x1b[2Ka progress bar\ntwo\n")
        assert lines == []
    assert lines == ["one", "two"]
    with pytest.raises(KeyError), captured_stderr():  # noqa: PT012
        os.write(2, b"hidden")
        raise KeyError
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"
