"""Label maps lie where their image lies, in every format, and are whole or not there."""

from __future__ import annotations

import gzip
import json
import struct

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk

from segflow.contracts.errors import DatasetError
from segflow.images import image_files as encode
from segflow.images.cases import read_geometry, read_image, read_labels, write_image, write_labels
from segflow.storage.files import digest_of

EXACT = [".nii.gz", ".nii", ".mha", ".mhd"]


def rotation(generator, axes):
    matrix, _ = np.linalg.qr(generator.normal(size=(axes, axes)))
    return matrix * np.sign(np.linalg.det(matrix)) if axes == 3 else matrix


def image_file(folder, ending, axes, seed, *, kind="rotated"):
    """An image somewhere in space."""
    generator = np.random.default_rng(seed)
    image = sitk.GetImageFromArray(generator.integers(0, 99, (3, 4, 5)[-axes:]).astype(np.int16))
    image.SetSpacing(generator.uniform(0.3, 5, axes).tolist())
    image.SetOrigin((100 * generator.normal(size=axes)).tolist())
    flips = np.diag(generator.choice([-1.0, 1.0], axes))
    image.SetDirection((rotation(generator, axes) if kind == "rotated" else flips).ravel().tolist())
    folder.mkdir(exist_ok=True)
    path = folder / f"a_0000{ending.lower()}"
    sitk.WriteImage(image, str(path))
    return path.rename(folder / f"a_0000{ending}")


def labels_like(geometry, high=4):
    return np.random.default_rng(0).integers(0, high, geometry.shape).astype(np.uint8)


@pytest.mark.parametrize("ending", [*EXACT, ".nrrd", ".gipl", *(e.upper() for e in EXACT), ".GIPL", ".NRRD"])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("kind", ["rotated", "flipped"])
def test_geometry_is_restored(ending, axes, kind, tmp_path):
    for seed in range(5):
        file = image_file(tmp_path / f"in{seed}", ending, axes, seed, kind=kind)
        _, geometry = read_image([file], case="a")
        path = tmp_path / f"out{seed}" / f"a{ending}"
        labels = labels_like(geometry)
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


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("qform", "sform"), [(0, 0), (1, 0), (0, 1), (2, 1), (1, 4)])
@pytest.mark.parametrize("units", [0, 1, 2, 3])
def test_the_header_of_nifti_places_the_label_map_bit_by_bit(ending, qform, sform, units, tmp_path):
    content = bytearray(image_file(tmp_path / "in", ".nii", 3, 1).read_bytes())
    content[123] = units
    content[252:256] = struct.pack("<2h", qform, sform)
    file = tmp_path / f"a_0000{ending}"
    file.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    _, geometry = read_image([file], case="a")
    path = tmp_path / f"a{ending}"
    write_labels(path, labels_like(geometry), geometry)
    assert read_geometry(path, case="a") == geometry
    header = (gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes())[:348]
    assert header[252:328] == content[252:328]
    assert header[76:92] == content[76:92]
    assert header[123] == units


def test_an_image_of_other_byte_order(tmp_path):
    little = bytearray(image_file(tmp_path / "in", ".nii", 3, 2).read_bytes())
    file = tmp_path / "a_0000.nii"
    file.write_bytes(_swapped(little))
    image, geometry = read_image([file], case="a")
    same, expected = read_image([tmp_path / "in" / "a_0000.nii"], case="a")
    np.testing.assert_array_equal(image, same)
    assert geometry == expected
    write_labels(tmp_path / "a.nii", labels_like(geometry), geometry)
    assert read_geometry(tmp_path / "a.nii", case="a") == geometry


def _swapped(little):
    """A NIfTI file of 16-bit values in the other byte order."""
    big = bytearray(little)
    fields = [
        (0, "i"),
        (32, "i"),
        (36, "h"),
        (40, "8h"),
        (56, "3f"),
        (68, "4h"),
        (76, "8f"),
        (108, "3f"),
        (120, "h"),
    ]
    fields += [(124, "4f"), (140, "2i"), (252, "2h"), (256, "18f")]
    for offset, kind in fields:
        struct.pack_into(f">{kind}", big, offset, *struct.unpack_from(f"<{kind}", little, offset))
    big[352:] = np.frombuffer(bytes(little[352:]), "<i2").astype(">i2").tobytes()
    return big


def test_archives_do_not_tell_the_time(tmp_path):
    file = image_file(tmp_path / "in", ".nii.gz", 3, 0)
    _, geometry = read_image([file], case="a")
    for name in ("a", "b"):
        write_labels(tmp_path / f"{name}.nii.gz", labels_like(geometry), geometry)
    assert digest_of(tmp_path / "a.nii.gz") == digest_of(tmp_path / "b.nii.gz")


@pytest.mark.parametrize("ending", [".tif", ".tiff", ".TIF"])
@pytest.mark.parametrize("spacing_mm", [(2.5, 0.3, 1 / 3), (1.0, 1.0, 1.0)])
def test_a_stack_gets_its_side_file(ending, spacing_mm, tmp_path):
    file = image_file(tmp_path, ending, 3, 0)
    (tmp_path / "a.json").write_text(json.dumps({"spacing": spacing_mm}))
    _, geometry = read_image([file], case="a")
    assert (geometry.spacing_mm, geometry.file_spacing_mm) == (spacing_mm, spacing_mm[::-1])
    out = tmp_path / "out" / f"a{ending}"
    write_labels(out, labels_like(geometry), geometry)
    assert json.loads((out.parent / "a.json").read_text()) == {"spacing": list(spacing_mm)}
    assert {path.name for path in out.parent.iterdir()} == {"a.json", f"a{ending}"}
    assert read_geometry(out, case="a") == geometry
    np.testing.assert_array_equal(read_labels(out, case="a"), labels_like(geometry))


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".tiff", ".PNG", ".BMP"])
@pytest.mark.parametrize("spacing_mm", [None, (5.0, 0.25, 0.5)])
def test_pictures(ending, spacing_mm, tmp_path):
    PIL.Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / f"a_0000{ending}")
    if spacing_mm is not None:
        (tmp_path / "a.json").write_text(json.dumps({"spacing": spacing_mm}))
    _, geometry = read_image([tmp_path / f"a_0000{ending}"], case="a")
    out = tmp_path / "out" / f"a{ending}"
    labels = labels_like(geometry, 256)
    write_labels(out, labels, geometry)
    np.testing.assert_array_equal(read_labels(out, case="a"), labels)
    assert read_geometry(out, case="a") == geometry
    assert {path.name for path in out.parent.iterdir()} == {f"a{ending}"} | (
        {"a.json"} if spacing_mm else set()
    )
    assert np.array_equal(np.asarray(PIL.Image.open(out)), labels[0])  # others can read it too


@pytest.mark.parametrize(
    ("largest", "kind"), [(0, "uint8"), (255, "uint8"), (256, "uint16"), (65535, "uint16")]
)
@pytest.mark.parametrize("ending", [".nii.gz", ".mhd", ".gipl", ".tif", ".png"])
@pytest.mark.parametrize("given", [np.int32, np.uint16])
def test_the_smallest_type_that_holds_the_labels(largest, kind, ending, given, tmp_path, frozen):
    _, geometry = read_image([image_file(tmp_path / "in", ".mha", 2, 0)], case="a")
    labels = np.zeros(geometry.shape, given)
    labels[0, 1, 2] = largest
    write_labels(tmp_path / f"a{ending}", frozen(labels), geometry)
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"a{ending}")))
    assert stored.dtype == kind
    np.testing.assert_array_equal(stored.reshape(labels.shape), labels)


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
    _, geometry = read_image([image_file(tmp_path / "in", ".mha", 2, 0)], case="a")
    with pytest.raises(DatasetError, match=message):
        write_labels(
            tmp_path / "out" / f"a{ending}",
            np.full(geometry.shape, value) * np.eye(4, 5, dtype=int),
            geometry,
        )
    assert not (tmp_path / "out").exists()


def test_a_volume_is_no_picture(tmp_path):
    _, geometry = read_image([image_file(tmp_path / "in", ".mha", 3, 0)], case="a")
    with pytest.raises(
        DatasetError, match=r"a\.png cannot be written: \.png is for 2D images, and this one has 3"
    ):
        write_labels(tmp_path / "out" / "a.png", labels_like(geometry), geometry)


def test_an_image_that_the_format_cannot_hold(tmp_path):
    _, geometry = read_image([image_file(tmp_path / "in", ".mha", 2, 0)], case="a")
    with pytest.raises(DatasetError, match=r"a\.png cannot be written: \S"):
        write_image(tmp_path / "out" / "a.png", np.zeros(geometry.shape, np.float32), geometry)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def pair(tmp_path):
    """An old label map of two files, and what it was."""
    _, geometry = read_image([image_file(tmp_path / "in", ".mhd", 3, 0)], case="a")
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
    original = encode.Path.replace

    def replace(self, target):
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(target)
        return original(self, target)

    monkeypatch.setattr(encode.Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write_labels(path, labels * 0, geometry)
    assert len(done) == renames
    assert not path.exists()
    assert {other.name for other in path.parent.iterdir()} == {"a.zraw"}
    monkeypatch.undo()
    write_labels(path, labels * 0, geometry)
    np.testing.assert_array_equal(read_labels(path, case="a"), labels * 0)


def test_the_side_file_comes_first(tmp_path, monkeypatch):
    file = image_file(tmp_path, ".tif", 3, 0)
    (tmp_path / "a.json").write_text('{"spacing": [3, 2, 1]}')
    _, geometry = read_image([file], case="a")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(encode, "write_atomically", stop)
    with pytest.raises(KeyboardInterrupt):
        write_labels(tmp_path / "out" / "a.tif", labels_like(geometry), geometry)
    assert list((tmp_path / "out").iterdir()) == []
