"""Every format: value types, geometry, files that must not be taken for whole, and writing whole or not at all."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
from io_samples import read_one, save, somewhere

from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.images import image_files, itk
from segflow.images.cases import read_geometry, read_labels, write_image, write_labels
from segflow.images.formats import ENDINGS
from segflow.images.itk import captured_stderr
from segflow.storage.files import digest_of

FLAT = [".png", ".bmp", ".jpg", ".jpeg"]
VOLUMES = [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl", ".tif", ".tiff"]
TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
IDENTITY = {2: (1.0, 0.0, 0.0, 1.0), 3: (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}


def noise(shape, high=200):
    return np.random.default_rng(0).integers(0, high, shape)


def labels_like(geometry, high=4):
    return noise(geometry.shape, high).astype(np.uint8)


def test_each_ending_has_a_format():
    assert tuple(image_files._FORMATS) == ENDINGS


@pytest.mark.parametrize(
    ("ending", "kind"),
    [(ending, kind) for ending in (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd") for kind in TYPES]
    + [(".gipl", kind) for kind in ("uint8", "int8", "uint16", "int16", "float32", "float64")],
)
@pytest.mark.parametrize("axes", [2, 3])
def test_value_types(kind, ending, axes, tmp_path):
    if (ending, axes) == (".gipl", 2):
        pytest.skip("the format has 3 axes")
    array = noise((3, 4, 5)[-axes:], 100).astype(kind) - np.array(50 * (kind[0] in "if"), kind)
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
    array = noise((3, 4, 5, 2)).astype(np.float32)
    file = save(tmp_path / f"a_0000{ending}", array, is_vector=True)
    image, geometry = read_one(file)
    np.testing.assert_array_equal(image, np.moveaxis(array, -1, 0))
    assert geometry == read_geometry(file, case="a")
    assert geometry.shape == (3, 4, 5)


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii", ".nii.gz"])
def test_a_fourth_axis_is_channels(ending, tmp_path):
    array = noise((2, 3, 4, 5)).astype(np.int16)
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
    assert geometry == read_geometry(file, case="a") == plain((1, 4, 5), 2, side or (999.0, 1.0, 1.0))


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_colours_are_channels(ending, channels, kind, tmp_path):
    array = noise((4, 5, channels)).astype(kind) * (1 if kind == "uint8" else 300)
    image, _ = read_one(save(tmp_path / f"a_0000{ending}", array, is_vector=True))
    np.testing.assert_array_equal(image, np.moveaxis(array, -1, 0)[:, None])


def test_colours_and_greys_of_bmp(tmp_path):
    array = noise((4, 5, 3)).astype(np.uint8)
    for pixels in (array, array[..., 0]):
        PIL.Image.fromarray(pixels).save(tmp_path / "a_0000.bmp")
        image, _ = read_one(tmp_path / "a_0000.bmp")
        np.testing.assert_array_equal(image[:, 0], np.moveaxis(np.atleast_3d(pixels), -1, 0))


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
def test_masks_of_one_bit_are_0_and_1(ending, tmp_path):
    array = noise((4, 50), 2).astype(bool)
    PIL.Image.fromarray(array).save(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(read_labels(tmp_path / f"a{ending}", case="a")[0], array)


def test_upper_case_is_the_same_format(tmp_path):
    array = noise((3, 4, 5)).astype(np.uint8)
    for ending in (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl", ".tif"):
        file = save(tmp_path / f"a{ending}", array).rename(tmp_path / f"a{ending.upper()}")
        np.testing.assert_array_equal(read_labels(file, case="a"), array)
        file.unlink()


def test_geometry_is_read_without_voxels(tmp_path, monkeypatch):
    for ending in (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl"):
        file = save(tmp_path / f"a{ending}", noise((3, 4, 5)).astype(np.uint8))
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


@pytest.mark.parametrize("content", [None, b"", b"no image"])
@pytest.mark.parametrize("ending", [".nii.gz", ".png", ".tif", ".xyz"])
def test_unreadable_file(ending, content, tmp_path):
    file = tmp_path / f"a_0000{ending}"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"case a: cannot read .*a_0000{ending}: \S"):
        read_one(file)


@pytest.fixture
def whole(tmp_path):
    """Write a file of a format; give it, its voxels, and the file that holds the voxels."""

    def write(ending, *, compressed=True):
        array = noise((40, 50) if ending in FLAT else (6, 40, 50)).astype(np.uint8)
        file = tmp_path / f"a_0000{ending}"
        if ending in {".bmp", ".jpg", ".jpeg"}:
            PIL.Image.fromarray(array).save(file)
        else:
            save(file, array, compressed=compressed)
        data = next((other for other in tmp_path.iterdir() if other != file), file)
        return file, read_one(file)[0], data

    return write


@pytest.mark.parametrize("ending", VOLUMES + FLAT)
@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_that_was_cut_short_is_refused(ending, compressed, whole, capfd):
    """At most the end of a file that holds no voxels may be missing."""
    file, image, data = whole(ending, compressed=compressed)
    content = data.read_bytes()
    refused = []
    step = max(len(content) // 40, 1)
    cuts = sorted({0, 1, 20, 100, 352, *range(0, len(content), step), len(content) - 100})
    for cut in cuts:
        data.write_bytes(content[:cut])
        try:
            found, _ = read_one(file)
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
        assert read_one(file)[0].shape == (1, 6, 40, 50)
        return
    for read in (read_one, lambda file: read_geometry(file, case="a")):
        with pytest.raises(DatasetError, match=rf"^case a: cannot read .*b_0000{ending}: .{{10}}"):
            read(file)
    assert capfd.readouterr() == ("", "")


def test_the_data_of_a_header_are_missing(whole):
    file, _, data = whole(".mhd")
    data.unlink()
    with pytest.raises(DatasetError, match=r"a_0000\.mhd: MetaImage: Read: Cannot open data file"):
        read_one(file)


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


EXACT = [".nii.gz", ".nii", ".mha", ".mhd", ".gipl"]


@pytest.mark.parametrize("ending", [*EXACT, ".nrrd", *(ending.upper() for ending in (*EXACT, ".nrrd"))])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("kind", ["rotated", "flipped"])
def test_a_label_map_lies_where_its_image_lies(ending, axes, kind, tmp_path, frozen):
    for seed in range(5):
        _, geometry = read_one(somewhere(tmp_path / f"in{seed}", ending, axes, seed, kind=kind))
        path = tmp_path / f"out{seed}" / f"a{ending}"
        labels = frozen(labels_like(geometry))
        write_labels(path, labels, geometry)
        np.testing.assert_array_equal(read_labels(path, case="a"), labels)
        found = read_geometry(path, case="a")
        if ending.lower() == ".nrrd":  # its header holds direction times spacing: the last digit is lost
            for name in ("spacing_mm", "file_spacing_mm", "origin_mm", "direction"):
                np.testing.assert_allclose(
                    getattr(found, name), getattr(geometry, name), rtol=1e-14, atol=1e-15, err_msg=name
                )
            assert (found.shape, found.file_dimensions) == (geometry.shape, geometry.file_dimensions)
        else:
            assert found == geometry
        names = {f"a{ending}"} | ({"a.zraw"} if ending.lower() == ".mhd" else set())
        assert {other.name for other in path.parent.iterdir()} == names


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_an_image_is_read_as_it_was_written(ending, tmp_path, frozen):
    _, geometry = read_one(somewhere(tmp_path / "in", ".mha", 3, 0))  # another format's: no header to copy
    channel = frozen(np.random.default_rng(0).normal(size=geometry.shape).astype(np.float32))
    write_image(tmp_path / f"a_0000{ending}", channel, geometry)
    image, found = read_one(tmp_path / f"a_0000{ending}")
    np.testing.assert_array_equal(image[0], channel)
    for name in ("spacing_mm", "origin_mm", "direction"):
        np.testing.assert_allclose(getattr(found, name), getattr(geometry, name), atol=1e-5, err_msg=name)


@pytest.mark.parametrize("ending", [".tif", ".tiff", ".TIF"])
@pytest.mark.parametrize("spacing_mm", [(2.5, 0.3, 1 / 3), (1.0, 1.0, 1.0)])
def test_a_stack_gets_its_side_file(ending, spacing_mm, tmp_path):
    file = somewhere(tmp_path, ending, 3, 0)
    (tmp_path / "a.json").write_text(json.dumps({"spacing": spacing_mm}))
    _, geometry = read_one(file)
    assert (geometry.spacing_mm, geometry.file_spacing_mm) == (spacing_mm, spacing_mm[::-1])
    out = tmp_path / "out" / f"a{ending}"
    write_labels(out, labels_like(geometry), geometry)
    assert json.loads((out.parent / "a.json").read_text()) == {"spacing": list(spacing_mm)}
    assert {path.name for path in out.parent.iterdir()} == {"a.json", f"a{ending}"}
    assert read_geometry(out, case="a") == geometry
    np.testing.assert_array_equal(read_labels(out, case="a"), labels_like(geometry))


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".tiff", ".PNG", ".BMP"])
@pytest.mark.parametrize("spacing_mm", [None, (5.0, 0.25, 0.5)])
def test_label_maps_of_pictures(ending, spacing_mm, tmp_path):
    PIL.Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / f"a_0000{ending}")
    if spacing_mm is not None:
        (tmp_path / "a.json").write_text(json.dumps({"spacing": spacing_mm}))
    _, geometry = read_one(tmp_path / f"a_0000{ending}")
    out = tmp_path / "out" / f"a{ending}"
    labels = labels_like(geometry, 256)
    write_labels(out, labels, geometry)
    np.testing.assert_array_equal(read_labels(out, case="a"), labels)
    assert read_geometry(out, case="a") == geometry
    names = {f"a{ending}"} | ({"a.json"} if spacing_mm else set())
    assert {path.name for path in out.parent.iterdir()} == names
    assert np.array_equal(np.asarray(PIL.Image.open(out)), labels[0])  # others can read it too


@pytest.mark.parametrize(
    ("largest", "kind"), [(0, "uint8"), (255, "uint8"), (256, "uint16"), (65535, "uint16")]
)
@pytest.mark.parametrize("ending", [".nii.gz", ".mhd", ".gipl", ".tif", ".png"])
@pytest.mark.parametrize("given", [np.int32, np.uint16])
def test_the_smallest_type_that_holds_the_labels(largest, kind, ending, given, tmp_path, frozen):
    _, geometry = read_one(somewhere(tmp_path / "in", ".mha", 2, 0))
    labels = np.zeros(geometry.shape, given)
    labels[0, 1, 2] = largest
    write_labels(tmp_path / f"a{ending}", frozen(labels), geometry)
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"a{ending}")))
    assert stored.dtype == kind
    np.testing.assert_array_equal(stored.reshape(labels.shape), labels)
    assert read_labels(tmp_path / f"a{ending}", case="a").dtype == (np.int32 if largest > 32767 else np.int16)


@pytest.mark.parametrize(
    ("ending", "value", "message"),
    [
        (
            ".bmp",
            256,
            r"a\.bmp: a \.bmp file holds labels from 0 to 255, but these are 0 to 256; use another",
        ),
        (".png", 65536, r"a \.png file holds labels from 0 to 65535, but these are 0 to 65536"),
        (".nii.gz", -1, r"a \.nii\.gz file holds labels from 0 to 65535, but these are -1 to 0"),
        (".jpg", 1, r"a\.jpg: JPEG changes values, so it cannot hold labels; use \.png"),
        (".JPEG", 1, r"a\.JPEG: JPEG changes values"),
        (".xyz", 1, r"a\.xyz cannot be written: its ending is none of \.nii\.gz"),
    ],
)
def test_labels_that_the_format_cannot_hold(ending, value, message, tmp_path):
    _, geometry = read_one(somewhere(tmp_path / "in", ".mha", 2, 0))
    labels = np.full(geometry.shape, value) * np.eye(4, 5, dtype=int)
    with pytest.raises(DatasetError, match=message):
        write_labels(tmp_path / "out" / f"a{ending}", labels, geometry)
    assert not (tmp_path / "out").exists()


def test_images_that_the_format_cannot_hold(tmp_path):
    out = tmp_path / "out" / "a.png"
    _, volume = read_one(somewhere(tmp_path / "in", ".mha", 3, 0))
    with pytest.raises(
        DatasetError, match=r"a\.png cannot be written: \.png is for 2D images, .* has 3 axes"
    ):
        write_labels(out, labels_like(volume), volume)
    _, flat = read_one(somewhere(tmp_path / "in", ".mha", 2, 0))
    with pytest.raises(DatasetError, match=r"a\.png cannot be written: \S"):
        write_image(out, np.zeros(flat.shape, np.float32), flat)
    assert list(out.parent.iterdir()) == []


@pytest.fixture
def pair(tmp_path):
    """An old label map of two files, and what it was."""
    _, geometry = read_one(somewhere(tmp_path / "in", ".mhd", 3, 0))
    labels = labels_like(geometry)
    path = tmp_path / "out" / "a.mhd"
    write_labels(path, labels, geometry)
    return path, labels, geometry


def test_the_header_of_a_pair_names_its_data_and_changes_with_them(pair):
    path, labels, geometry = pair
    assert path.read_text().splitlines()[-1] == "ElementDataFile = a.zraw"
    old = digest_of(path)
    write_labels(path, labels, geometry)
    assert digest_of(path) == old
    write_labels(path, np.roll(labels, 1), geometry)  # as many bytes, another content
    assert digest_of(path) != old
    np.testing.assert_array_equal(read_labels(path, case="a"), np.roll(labels, 1))


@pytest.mark.parametrize("renames", [0, 1])
def test_half_a_pair_is_never_taken_for_whole(renames, pair, monkeypatch):
    """A call that ends between two renames leaves the old pair, or no header."""
    path, labels, geometry = pair
    done = []
    original = image_files.Path.replace

    def replace(self, target):
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(target)
        return original(self, target)

    monkeypatch.setattr(image_files.Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write_labels(path, labels * 0, geometry)
    assert len(done) == renames
    assert {other.name for other in path.parent.iterdir()} == {"a.zraw"}
    monkeypatch.undo()
    write_labels(path, labels * 0, geometry)
    np.testing.assert_array_equal(read_labels(path, case="a"), labels * 0)


def test_the_side_file_comes_first(tmp_path, monkeypatch):
    file = somewhere(tmp_path, ".tif", 3, 0)
    (tmp_path / "a.json").write_text('{"spacing": [3, 2, 1]}')
    _, geometry = read_one(file)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(image_files, "write_text", stop)
    with pytest.raises(KeyboardInterrupt):
        write_labels(tmp_path / "out" / "a.tif", labels_like(geometry), geometry)
    assert list((tmp_path / "out").iterdir()) == []
