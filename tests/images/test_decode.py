"""Every format, every value type, and files that must not be taken for whole."""

from __future__ import annotations

import shutil
import struct

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk

from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.images import itk
from segflow.images.cases import read_geometry, read_image, read_labels, write_labels

FLAT = [".png", ".bmp", ".jpg", ".jpeg"]
VOLUMES = [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl", ".tif", ".tiff"]
TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
IDENTITY = {2: (1.0, 0.0, 0.0, 1.0), 3: (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}


def save(path, array, **options):
    sitk.WriteImage(sitk.GetImageFromArray(np.asarray(array), **options), str(path), useCompression=True)
    return path


def noise(shape, high=200):
    return np.random.default_rng(0).integers(0, high, shape)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("axes", [2, 3])
def test_value_types(kind, ending, axes, tmp_path):
    array = noise((3, 4, 5)[-axes:], 100).astype(kind) - (50 if kind.startswith(("int", "float")) else 0)
    file = save(tmp_path / f"a_0000{ending}", array.astype(kind))
    image, geometry = read_image([file], case="a")
    np.testing.assert_array_equal(image[0], array.reshape(geometry.shape))
    assert (image.dtype, geometry.file_dimensions) == (np.float32, axes)
    labels = read_labels(file, case="a")
    np.testing.assert_array_equal(labels, array.reshape(geometry.shape))
    assert labels.dtype == np.int16
    assert labels.flags.writeable
    assert image.flags.writeable
    assert read_geometry(file, case="a") == geometry


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int16", "float32", "float64"])
def test_value_types_of_gipl(kind, tmp_path):
    array = noise((3, 4, 5), 100).astype(kind)
    image, geometry = read_image([save(tmp_path / "a_0000.gipl", array)], case="a")
    np.testing.assert_array_equal(image[0], array)
    assert read_geometry(tmp_path / "a_0000.gipl", case="a") == geometry


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd", ".nii.gz"])
def test_vectors_are_channels(ending, tmp_path):
    array = noise((3, 4, 5, 2)).astype(np.float32)
    file = save(tmp_path / f"a_0000{ending}", array, isVector=True)
    image, geometry = read_image([file], case="a")
    np.testing.assert_array_equal(image, np.moveaxis(array, -1, 0))
    assert geometry.shape == (3, 4, 5)
    assert read_geometry(file, case="a") == geometry


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii"])
def test_fourth_axis_is_channels(ending, tmp_path):
    array = noise((2, 3, 4, 5)).astype(np.int16)
    volumes = [sitk.GetImageFromArray(volume) for volume in array]
    for volume in volumes:
        volume.SetSpacing((0.5, 1.5, 2.5))
    file = tmp_path / f"a_0000{ending}"
    sitk.WriteImage(sitk.JoinSeries(volumes), str(file))
    image, geometry = read_image([file], case="a")
    np.testing.assert_array_equal(image, array)
    assert geometry.spacing_mm == (2.5, 1.5, 0.5)
    assert len(geometry.origin_mm) == 3
    assert read_geometry(file, case="a") == geometry


def plain(shape, dimensions, spacing_mm):
    return Geometry(
        shape=shape,
        spacing_mm=spacing_mm,
        file_dimensions=dimensions,
        file_spacing_mm=spacing_mm[::-1][:dimensions],
        origin_mm=(0.0,) * dimensions,
        direction=IDENTITY[dimensions],
    )


@pytest.mark.parametrize("ending", [*FLAT, ".tif", ".tiff", ".PNG", ".TIF", ".BMP", ".JPG"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pictures_have_no_spacing_whatever_their_tags_say(ending, mode, tmp_path):
    array = np.full((4, 5) if mode == "L" else (4, 5, 3), 7, np.uint8)
    file = tmp_path / f"a_0000{ending}"
    PIL.Image.fromarray(array).save(file, dpi=(300, 300))
    image, geometry = read_image([file], case="a")
    assert image.shape == (1 if mode == "L" else 3, 1, 4, 5)
    assert abs(image - 7).max() <= (1 if "j" in ending.lower() else 0)
    assert geometry == read_geometry(file, case="a") == plain((1, 4, 5), 2, (999.0, 1.0, 1.0))


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_colours_are_channels(ending, channels, kind, tmp_path):
    array = noise((4, 5, channels)).astype(kind) * (1 if kind == "uint8" else 300)
    image, _ = read_image([save(tmp_path / f"a_0000{ending}", array, isVector=True)], case="a")
    np.testing.assert_array_equal(image, np.moveaxis(array, -1, 0)[:, None])


def test_colours_of_bmp(tmp_path):
    array = noise((4, 5, 3)).astype(np.uint8)
    PIL.Image.fromarray(array).save(tmp_path / "a_0000.bmp")
    image, _ = read_image([tmp_path / "a_0000.bmp"], case="a")
    np.testing.assert_array_equal(image, np.moveaxis(array, -1, 0)[:, None])


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
def test_masks_of_one_bit_are_0_and_1(ending, tmp_path):
    array = noise((4, 50), 2).astype(bool)
    PIL.Image.fromarray(array).save(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(read_labels(tmp_path / f"a{ending}", case="a")[0], array)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif"])
def test_a_side_file_gives_a_picture_its_spacing(ending, tmp_path):
    PIL.Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / f"a_0000{ending}")
    (tmp_path / "a.json").write_text('{"spacing": [5, 0.25, 0.5]}')
    _, geometry = read_image([tmp_path / f"a_0000{ending}"], case="a")
    assert geometry == plain((1, 4, 5), 2, (5.0, 0.25, 0.5))


def test_empty_image(tmp_path):
    file = tmp_path / "a_0000.mha"
    file.write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 0 4 5\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    with pytest.raises(DatasetError, match=r"case a: cannot read .*a_0000\.mha: it has no voxels; replace"):
        read_image([file], case="a")


def test_complex_numbers(tmp_path):
    file = save(tmp_path / "a_0000.nii", np.ones((3, 4, 5), np.complex64))
    with pytest.raises(DatasetError, match="complex numbers"):
        read_image([file], case="a")


def test_too_many_axes(tmp_path):
    image = sitk.JoinSeries([sitk.JoinSeries([sitk.GetImageFromArray(np.zeros((3, 4, 5)))] * 2)] * 2)
    sitk.WriteImage(image, str(tmp_path / "a_0000.mha"))
    for read in (lambda file: read_image([file], case="a"), lambda file: read_geometry(file, case="a")):
        with pytest.raises(DatasetError, match="has 5 axes; 2 or 3 are possible, and a fourth for channels"):
            read(tmp_path / "a_0000.mha")


@pytest.fixture
def whole(tmp_path):
    """Write a file of a format; give it, its voxels, and the file that holds the voxels."""

    def write(ending, *, compressed=True):
        array = noise((40, 50) if ending in FLAT else (6, 40, 50)).astype(np.uint8)
        file = tmp_path / f"a_0000{ending}"
        if ending in {".bmp", ".jpg", ".jpeg"}:
            PIL.Image.fromarray(array).save(file)
        else:
            sitk.WriteImage(sitk.GetImageFromArray(array), str(file), useCompression=compressed)
        data = next((other for other in tmp_path.iterdir() if other != file), file)
        return file, read_image([file], case="a")[0], data

    return write


@pytest.mark.parametrize("ending", VOLUMES + FLAT)
@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_that_was_cut_short_is_refused(ending, compressed, whole, capfd):
    """At most the end of a file that holds no voxels may be missing."""
    file, image, data = whole(ending, compressed=compressed)
    content = data.read_bytes()
    refused = []
    cuts = sorted(
        {0, 1, 20, 100, 352, *range(0, len(content), max(len(content) // 40, 1)), len(content) - 100}
    )
    for cut in cuts:
        data.write_bytes(content[:cut])
        try:
            found, _ = read_image([file], case="a")
        except DatasetError as problem:
            refused.append(str(problem))
        else:
            np.testing.assert_array_equal(found, image, err_msg=f"cut at {cut} of {len(content)}")
    assert len(refused) >= len(cuts) - 2
    assert all(line.startswith(f"case a: cannot read {file}: ") for line in refused)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("ending", "other"),
    [
        (ending, other)
        for ending in VOLUMES + FLAT
        for other in (".png", ".nrrd", ".jpg", ".tif", ".mha", "text")
        if other[:3] != ending[:3]  # .jpg and .jpeg, .tif and .tiff are the same format
    ],
)
def test_a_file_of_another_format_is_refused(ending, other, whole, tmp_path, capfd):
    file = tmp_path / f"b_0000{ending}"
    if other == "text":
        file.write_text("no image at all, but some text that is long enough\n" * 20)
    else:
        shutil.copy(whole(other)[0], file)
    if (other, ending) == (".mha", ".mhd"):  # a header may be followed by the voxels
        assert read_image([file], case="b")[0].shape == (1, 6, 40, 50)
        return
    for read in (lambda: read_image([file], case="b"), lambda: read_geometry(file, case="b")):
        with pytest.raises(DatasetError, match=rf"^case b: cannot read .*b_0000{ending}: .{{10}}"):
            read()
    assert capfd.readouterr() == ("", "")


def test_the_data_of_a_header_are_missing(whole):
    file, _, data = whole(".mhd")
    data.unlink()
    with pytest.raises(DatasetError, match=r"a_0000\.mhd: MetaImage: Read: Cannot open data file"):
        read_image([file], case="a")


def shear_nifti(file, *, qform):
    """Give a NIfTI file an affine that is no rotation."""
    content = bytearray(file.read_bytes())
    content[252:256] = struct.pack("<2h", qform, 1)
    content[280:328] = struct.pack("<12f", 1, 0.2, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    file.write_bytes(content)


@pytest.mark.parametrize("read", [lambda f: read_image([f], case="a"), lambda f: read_geometry(f, case="a")])
def test_axes_that_are_no_rotation(read, tmp_path, capfd):
    file = save(tmp_path / "a_0000.nii", noise((3, 4, 5)).astype(np.int16))
    shear_nifti(file, qform=0)
    with pytest.raises(
        DatasetError, match=r"^case a: cannot read .*a_0000\.nii: .*no rotation: resample it to perp"
    ):
        read(file)
    assert capfd.readouterr() == ("", "")


def test_a_sound_qform_stands_in_for_such_axes(tmp_path, capfd):
    file = save(tmp_path / "a_0000.nii", noise((3, 4, 5)).astype(np.int16))
    _, expected = read_image([file], case="a")
    shear_nifti(file, qform=1)
    _, geometry = read_image([file], case="a")
    assert geometry.direction == expected.direction
    write_labels(tmp_path / "a.nii", np.zeros((3, 4, 5), np.uint8), geometry)
    assert read_geometry(tmp_path / "a.nii", case="a") == geometry
    assert capfd.readouterr() == ("", "")  # the library has a warning


def test_geometry_is_read_without_voxels(tmp_path, monkeypatch):
    for ending in (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl"):
        file = save(tmp_path / f"a{ending}", noise((3, 4, 5)).astype(np.uint8))
        _, expected = read_image([file], case="a")
        with monkeypatch.context() as patch:
            patch.delattr(itk.sitk.ImageFileReader, "Execute")
            assert read_geometry(file, case="a") == expected
        file.unlink()


def test_upper_case_is_the_same_format(tmp_path):
    array = noise((3, 4, 5)).astype(np.uint8)
    for ending in (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl", ".tif"):
        file = save(tmp_path / f"a{ending}", array).rename(tmp_path / f"a{ending.upper()}")
        np.testing.assert_array_equal(read_labels(file, case="a"), array)
        file.unlink()
