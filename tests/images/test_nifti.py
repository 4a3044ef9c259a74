"""NIfTI: damaged files that SimpleITK reads without an error, and exact voxels, headers and placement."""

from __future__ import annotations

import gzip
import itertools
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from image_samples import noise, patch, read_one, save, somewhere

from segflow.contracts.errors import DatasetError
from segflow.images import itk, nifti
from segflow.images.cases import read_geometry, read_labels, write_labels

ENDINGS = pytest.mark.parametrize("ending", [".nii", ".nii.gz"])


def pack(file, content):
    file.write_bytes(gzip.compress(content) if file.name.endswith(".gz") else content)
    return file


@pytest.fixture
def archive(tmp_path):
    array = noise((6, 40, 50))
    return save(tmp_path / "a_0000.nii.gz", array), array


def test_a_plain_file_beside_an_archive(archive):
    """SimpleITK would read the header of one and the voxels of the other."""
    file, array = archive
    other = save(file.with_name("a_0000.nii"), array * 0)
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(file))).max() == 0  # or this check can go
    with pytest.raises(
        DatasetError, match=r"case a: cannot read .*a_0000\.nii\.gz: a_0000\.nii lies beside it"
    ):
        read_one(file)
    np.testing.assert_array_equal(read_labels(other, case="a"), array * 0)


@pytest.mark.parametrize(("parts", "between"), [(1, b""), (3, b""), (2, bytes(512))], ids=str)
def test_archives_of_several_parts_and_with_zeros_between_them(parts, between, archive):
    file, array = archive
    content = gzip.decompress(file.read_bytes())
    cuts = np.linspace(0, len(content), parts + 1).astype(int)
    file.write_bytes(between.join(gzip.compress(content[a:b]) for a, b in itertools.pairwise(cuts)))
    np.testing.assert_array_equal(read_one(file)[0][0], array)
    np.testing.assert_array_equal(read_labels(file, case="a"), array)


def test_an_archive_with_a_long_name(archive):
    """The name it was packed under stands before the content."""
    file, _ = archive
    expected = read_geometry(file, case="a").nifti_placement
    content = gzip.decompress(file.read_bytes())
    with file.open("wb") as stream, gzip.GzipFile(filename="n" * 9000, mode="wb", fileobj=stream) as packed:
        packed.write(content)
    assert read_geometry(file, case="a").nifti_placement == expected != ""


def test_an_archive_without_compression(archive):
    file, array = archive
    file.write_bytes(gzip.decompress(file.read_bytes()))
    np.testing.assert_array_equal(read_one(file)[0][0], array)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DatasetError, match="ends before its last voxel"):
        read_one(file)


def test_an_archive_under_the_name_of_a_plain_file(archive):
    plain = archive[0].rename(archive[0].with_name("a_0000.nii"))
    with pytest.raises(DatasetError, match=r"case a: cannot read .*a_0000\.nii"):
        read_labels(plain, case="a")


@pytest.mark.parametrize("place", [0.5, -6])
@pytest.mark.parametrize("shape", [(6, 40, 50), (40, 50, 60)])
def test_a_changed_bit_is_found_by_the_checksum(place, shape, tmp_path):
    """SimpleITK looks at the checksum of small files only."""
    file = save(tmp_path / "a_0000.nii.gz", noise(shape, "i8", 1 << 20))
    content = bytearray(file.read_bytes())
    content[place if place < 0 else int(place * len(content))] ^= 1
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=r"case a: cannot read .*a_0000\.nii\.gz: its checksum is wrong"):
        read_one(file)


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_cut_archive_is_refused(cut, archive):
    file, _ = archive
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(DatasetError, match=r"case a: cannot read .*a_0000\.nii\.gz"):
        read_labels(file, case="a")


def test_a_cut_file_whose_header_says_that_voxels_have_no_bits(tmp_path):
    file = save(tmp_path / "a.nii", np.ones((2, 3, 4), np.uint8))
    patch(file, (72, "h", 0))
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(DatasetError, match=r"case a: cannot read .*a\.nii: it ends before its last voxel"):
        read_labels(file, case="a")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@ENDINGS
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 3, 4, 5), (2, 3, 4, 5)], ids=str)
def test_nan_and_infinity_are_refused(value, ending, kind, shape, tmp_path):
    """SimpleITK would turn them into zero."""
    array = np.ones(shape, kind)
    array[..., 1, 2, 3] = value
    file = save(tmp_path / f"a_0000{ending}", array)
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[..., 1, 2, 3].max() == 0  # or this reader can go
    with pytest.raises(DatasetError, match=r"case a: .*a_0000\.nii.* holds NaN or infinite voxels"):
        read_one(file)


@ENDINGS
def test_complex_numbers_are_refused(ending, tmp_path):
    file = save(tmp_path / f"a_0000{ending}", np.ones((3, 4, 5), np.complex64))
    with pytest.raises(DatasetError, match=r"case a: cannot read .*a_0000\.nii.*complex numbers"):
        read_one(file)


@ENDINGS
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 4, 5), (3, 4, 5), (1, 4, 5), (4, 5)], ids=str)
def test_plain_voxels_are_those_of_simpleitk(kind, ending, shape, tmp_path, monkeypatch):
    file = save(tmp_path / f"a{ending}", noise(shape, kind))
    expected = itk.read_voxels(file)
    monkeypatch.setattr("segflow.images.itk.read_voxels", None)
    image, geometry = read_one(file)
    np.testing.assert_array_equal(image, expected)
    assert geometry.shape == image.shape[1:]
    if len(image) == 1:
        found = read_labels(file, case="a")
        np.testing.assert_array_equal(found, expected[0])
        assert (found.dtype, found.flags.writeable) == (np.int16, True)


@pytest.mark.parametrize(
    "field",
    [(80, "3f", -0.5, 1.5, 2.5), (68, "h", 1006), (112, "2f", 2.0, 1.0)],
    ids=["mirrored", "displacement", "scaled"],
)
@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (1, 1)], ids=str)
def test_files_with_odd_headers_are_read_by_simpleitk(field, codes, tmp_path):
    """It flips directions and signs on its way, and it is right by definition."""
    file = save(tmp_path / "a_0000.nii", np.random.default_rng(0).normal(size=(3, 4, 5)).astype("f4"))
    patch(file, field, (252, "2h", *codes))
    image, geometry = read_one(file)
    np.testing.assert_array_equal(image, itk.read_voxels(file).astype(np.float32))
    found = sitk.ReadImage(str(file))
    np.testing.assert_array_equal(geometry.file_spacing_mm, found.GetSpacing()[:3])
    np.testing.assert_array_equal(geometry.direction, np.reshape(found.GetDirection(), (3, 3)).ravel())
    np.testing.assert_array_equal(geometry.origin_mm, found.GetOrigin()[:3])


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5)], ids=["3D", "2D"])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f4"])
def test_files_are_written_byte_by_byte_as_simpleitk_writes_them(kind, shape, tmp_path):
    """Where the placement is one that SimpleITK gives back."""
    expected = save(tmp_path / "itk.nii", noise(shape, kind), (2.5, 1.5, 0.5)[-len(shape) :])
    geometry = read_geometry(expected, case="a")
    nifti.write(tmp_path / "ours.nii", noise(shape, kind), geometry)
    nifti.write(tmp_path / "ours.nii.gz", noise(shape, kind), geometry)
    assert (tmp_path / "ours.nii").read_bytes() == expected.read_bytes()
    assert gzip.decompress((tmp_path / "ours.nii.gz").read_bytes()) == expected.read_bytes()


@ENDINGS
def test_the_other_byte_order(ending, tmp_path):
    little = somewhere(tmp_path / "in", ".nii", 3, 2)
    content = bytearray(little.read_bytes())
    fields = {0: "i", 32: "i", 36: "h", 40: "8h", 56: "3f", 68: "4h", 76: "8f", 108: "3f"}
    for start, kind in (fields | {120: "h", 124: "4f", 140: "2i", 252: "2h", 256: "18f"}).items():
        struct.pack_into(f">{kind}", content, start, *struct.unpack_from(f"<{kind}", content, start))
    content[352:] = np.frombuffer(content[352:], "<i2").astype(">i2").tobytes()
    big = pack(tmp_path / f"a_0000{ending}", content)
    image, geometry = read_one(big)
    expected, same = read_one(little)
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(read_labels(big, case="a"), expected[0])
    assert geometry == read_geometry(big, case="a") == same
    write_labels(tmp_path / f"a{ending}", np.ones(geometry.shape, np.uint8), geometry)
    assert read_geometry(tmp_path / f"a{ending}", case="a") == geometry


@ENDINGS
@pytest.mark.parametrize(("qform", "sform"), [(0, 0), (1, 0), (0, 1), (2, 1), (1, 4)])
@pytest.mark.parametrize("units", [0, 2, 3])
def test_a_label_map_is_placed_as_its_image_bit_by_bit(ending, qform, sform, units, tmp_path):
    """Its archives do not hold the time: the same voxels are the same bytes."""
    source = somewhere(tmp_path / "in", ".nii", 3, 1)
    patch(source, (123, "B", units), (252, "2h", qform, sform))
    content = source.read_bytes()
    _, geometry = read_one(pack(tmp_path / f"a_0000{ending}", content))
    files = [tmp_path / f"{name}{ending}" for name in "ab"]
    for path in files:
        write_labels(path, np.ones(geometry.shape, np.uint8), geometry)
    packed = files[0].read_bytes()
    assert packed == files[1].read_bytes()
    assert read_geometry(files[0], case="a") == geometry
    header = gzip.decompress(packed) if ending == ".nii.gz" else packed
    assert header[76:92] == content[76:92]  # pixdim
    assert header[252:328] == content[252:328]  # qform and sform
    assert header[123] == units
    assert ending == ".nii" or packed[4:8] == bytes(4)  # no time of modification


def shear(file, *, qform):
    """Give a NIfTI file an sform that is no rotation."""
    patch(file, (252, "2h", qform, 1), (280, "12f", 1, 0.2, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0))


@pytest.mark.parametrize("read", [read_one, lambda file: read_geometry(file, case="a")])
def test_axes_that_are_no_rotation_are_refused(read, tmp_path, capfd):
    file = save(tmp_path / "a_0000.nii", np.ones((3, 4, 5), np.int16))
    shear(file, qform=0)
    with pytest.raises(
        DatasetError, match=r"^case a: cannot read .*a_0000\.nii: .*no rotation, .*: resample it to perp"
    ):
        read(file)
    assert capfd.readouterr() == ("", "")


def test_a_sound_qform_stands_in_for_such_axes(tmp_path, capfd):
    file = save(tmp_path / "a_0000.nii", np.ones((3, 4, 5), np.int16))
    _, expected = read_one(file)
    shear(file, qform=1)
    _, geometry = read_one(file)
    assert geometry.direction == expected.direction
    write_labels(tmp_path / "a.nii", np.zeros((3, 4, 5), np.uint8), geometry)
    assert read_geometry(tmp_path / "a.nii", case="a") == geometry
    assert capfd.readouterr() == ("", "")  # SimpleITK has a warning
