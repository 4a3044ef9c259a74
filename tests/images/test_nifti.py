"""NIfTI files that the library would read though it should not."""

from __future__ import annotations

import gzip
import itertools
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from image_samples import read_one, somewhere

from segflow.contracts.errors import DatasetError
from segflow.images import nifti
from segflow.images.cases import read_geometry, read_image, read_labels, write_labels


@pytest.fixture
def archive(tmp_path):
    array = np.random.default_rng(0).integers(0, 200, (6, 40, 50)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "a_0000.nii.gz"))
    return tmp_path / "a_0000.nii.gz", array


def test_a_plain_file_beside_an_archive(archive):
    """The library would read the header of one and the voxels of the other."""
    file, array = archive
    other = file.with_name("a_0000.nii")
    sitk.WriteImage(sitk.GetImageFromArray(array * 0), str(other))
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(file))).max() == 0  # or this check can go
    with pytest.raises(
        DatasetError, match=r"case a: cannot read .*a_0000\.nii\.gz: a_0000\.nii lies beside it"
    ):
        read_image([file], case="a")
    np.testing.assert_array_equal(read_labels(other, case="a"), array * 0)


@pytest.mark.parametrize("parts", [1, 3])
def test_whole_archives_are_read(archive, parts, monkeypatch):
    """Archives of several parts, too, whose last bytes give the length of the last part only."""
    file, array = archive
    content = gzip.decompress(file.read_bytes())
    cuts = np.linspace(0, len(content), parts + 1).astype(int)
    file.write_bytes(b"".join(gzip.compress(content[a:b]) for a, b in itertools.pairwise(cuts)))
    image, _ = read_image([file], case="a")
    np.testing.assert_array_equal(image[0], array)


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
    np.testing.assert_array_equal(read_image([file], case="a")[0][0], array)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DatasetError, match="ends before its last voxel"):
        read_image([file], case="a")


def test_a_changed_bit_is_found_by_the_checksum(archive):
    file, _ = archive
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=r"case a: cannot read .*a_0000\.nii\.gz: its checksum is wrong"):
        read_image([file], case="a")


def test_a_changed_bit_in_what_the_library_reads(tmp_path):
    """It looks at the checksum of small files only."""
    array = np.random.default_rng(0).integers(0, 1 << 20, (40, 50, 60))  # of 64 bits
    file = written(tmp_path / "a_0000.nii.gz", array)
    content = bytearray(file.read_bytes())
    content[-6] ^= 1
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=r"case a: cannot read .*a_0000\.nii\.gz: its checksum is wrong"):
        read_image([file], case="a")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 3, 4, 5), (2, 3, 4, 5)], ids=str)
def test_what_is_no_number_is_refused(value, ending, kind, shape, tmp_path):
    """The library would turn it into zero."""
    array = np.ones(shape, kind)
    array[..., 1, 2, 3] = value
    file = written(tmp_path / f"a_0000{ending}", array)
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[..., 1, 2, 3].max() == 0  # or this reader can go
    with pytest.raises(DatasetError, match=r"case a: .*a_0000\.nii.* holds NaN or infinite voxels"):
        read_image([file], case="a")


def written(path, array, pixel=None):
    image = sitk.GetImageFromArray(array, isVector=False)
    image.SetSpacing([0.5 + axis for axis in range(image.GetDimension())])
    sitk.WriteImage(image if pixel is None else sitk.Cast(image, pixel), str(path))
    return path


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5)], ids=["3D", "2D"])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f4"])
def test_files_are_written_as_the_library_writes_them(kind, shape, tmp_path):
    """Byte by byte, where the placement is one that it gives back."""
    array = np.random.default_rng(0).integers(0, 9, shape).astype(kind)
    expected = written(tmp_path / "library.nii", array)
    nifti.write(tmp_path / "ours.nii", array, read_geometry(expected, case="a"))
    assert (tmp_path / "ours.nii").read_bytes() == expected.read_bytes()
    nifti.write(tmp_path / "ours.nii.gz", array, read_geometry(expected, case="a"))
    assert gzip.decompress((tmp_path / "ours.nii.gz").read_bytes()) == expected.read_bytes()


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 4, 5), (3, 4, 5), (1, 4, 5), (4, 5)], ids=str)
def test_ordinary_files_are_read_as_the_library_reads_them(kind, ending, shape, tmp_path, monkeypatch):
    array = np.random.default_rng(0).integers(0, 9, shape).astype(kind)
    file = written(tmp_path / f"a{ending}", array)
    monkeypatch.setattr("segflow.images.itk.read_voxels", None)
    image, geometry = read_image([file], case="a")
    found = read_labels(file, case="a") if len(image) == 1 else None
    monkeypatch.undo()
    expected, same = as_the_library_reads(file, monkeypatch)
    np.testing.assert_array_equal(image, expected)
    assert geometry == same
    if found is not None:
        np.testing.assert_array_equal(found, expected[0])
        assert found.dtype == np.int16
        assert found.flags.writeable


def as_the_library_reads(file, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(nifti, "_is_plain", lambda *_: False)
        return read_image([file], case="a")


@pytest.mark.parametrize(
    ("place", "kind", "values"),
    [(80, "3f", (-0.5, 1.5, 2.5)), (68, "h", (1006,)), (112, "2f", (2.0, 1.0)), (80, "3f", (0.5, 0.0, 2.5))],
    ids=["mirrored", "displacement", "scaled", "without extent"],
)
@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (1, 1)], ids=str)
def test_odd_headers_are_the_library_s(place, kind, values, codes, tmp_path, monkeypatch):
    """It flips directions and signs on its way, and it is right by definition."""
    file = written(tmp_path / "a_0000.nii", np.random.default_rng(0).normal(size=(3, 4, 5)).astype("f4"))
    content = bytearray(file.read_bytes())
    struct.pack_into(f"<{kind}", content, place, *values)
    struct.pack_into("<2h", content, 252, *codes)
    file.write_bytes(content)
    image, geometry = read_image([file], case="a")
    expected, same = as_the_library_reads(file, monkeypatch)
    np.testing.assert_array_equal(image, expected)
    assert geometry == same


def test_zeros_between_the_parts_of_an_archive(archive):
    """Padding of tapes; the library would take what follows for zeros."""
    file, array = archive
    content = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(content[:5000]) + bytes(512) + gzip.compress(content[5000:]))
    np.testing.assert_array_equal(read_image([file], case="a")[0][0], array)
    np.testing.assert_array_equal(read_labels(file, case="a"), array)


def test_an_archive_under_the_name_of_a_plain_file(archive):
    file, _ = archive
    plain = file.rename(file.with_name("a_0000.nii"))
    for read in (lambda: read_image([plain], case="a"), lambda: read_labels(plain, case="a")):
        with pytest.raises(DatasetError, match=r"case a: cannot read .*a_0000\.nii"):
            read()


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_the_other_byte_order(ending, tmp_path):
    little = somewhere(tmp_path / "in", ".nii", 3, 2)
    content = bytearray(little.read_bytes())
    fields = {0: "i", 32: "i", 36: "h", 40: "8h", 56: "3f", 68: "4h", 76: "8f", 108: "3f"}
    for start, kind in (fields | {120: "h", 124: "4f", 140: "2i", 252: "2h", 256: "18f"}).items():
        struct.pack_into(f">{kind}", content, start, *struct.unpack_from(f"<{kind}", content, start))
    content[352:] = np.frombuffer(content[352:], "<i2").astype(">i2").tobytes()
    big = tmp_path / f"a_0000{ending}"
    big.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    image, geometry = read_one(big)
    expected, same = read_one(little)
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(read_labels(big, case="a"), expected[0])
    assert geometry == read_geometry(big, case="a") == same
    labels = np.ones(geometry.shape, np.uint8)
    write_labels(tmp_path / f"a{ending}", labels, geometry)
    assert read_geometry(tmp_path / f"a{ending}", case="a") == geometry


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("qform", "sform"), [(0, 0), (1, 0), (0, 1), (2, 1), (1, 4)])
@pytest.mark.parametrize("units", [0, 1, 2, 3])
def test_a_label_map_is_placed_as_its_image_bit_by_bit(ending, qform, sform, units, tmp_path):
    """Its archives do not hold the time: the same voxels are the same bytes."""
    content = bytearray(somewhere(tmp_path / "in", ".nii", 3, 1).read_bytes())
    content[123] = units
    struct.pack_into("<2h", content, 252, qform, sform)
    file = tmp_path / f"a_0000{ending}"
    file.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    _, geometry = read_one(file)
    files = [tmp_path / f"{name}{ending}" for name in "ab"]
    for path in files:
        write_labels(path, np.ones(geometry.shape, np.uint8), geometry)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert read_geometry(files[0], case="a") == geometry
    header = files[0].read_bytes()
    header = gzip.decompress(header) if ending == ".nii.gz" else header
    assert header[76:92] == content[76:92]  # pixdim
    assert header[252:328] == content[252:328]  # qform and sform
    assert header[123] == units
    assert ending == ".nii" or files[0].read_bytes()[4:8] == bytes(4)  # no time of modification


def shear(file, *, qform):
    """Give a NIfTI file an sform that is no rotation."""
    content = bytearray(file.read_bytes())
    struct.pack_into("<2h", content, 252, qform, 1)
    struct.pack_into("<12f", content, 280, 1, 0.2, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    file.write_bytes(content)


@pytest.mark.parametrize("read", [read_one, lambda file: read_geometry(file, case="a")])
def test_axes_that_are_no_rotation_are_refused(read, tmp_path, capfd):
    file = written(tmp_path / "a_0000.nii", np.ones((3, 4, 5), np.int16))
    shear(file, qform=0)
    with pytest.raises(
        DatasetError, match=r"^case a: cannot read .*a_0000\.nii: .*no rotation: resample it to perp"
    ):
        read(file)
    assert capfd.readouterr() == ("", "")


def test_a_sound_qform_stands_in_for_such_axes(tmp_path, capfd):
    file = written(tmp_path / "a_0000.nii", np.ones((3, 4, 5), np.int16))
    _, expected = read_one(file)
    shear(file, qform=1)
    _, geometry = read_one(file)
    assert geometry.direction == expected.direction
    write_labels(tmp_path / "a.nii", np.zeros((3, 4, 5), np.uint8), geometry)
    assert read_geometry(tmp_path / "a.nii", case="a") == geometry
    assert capfd.readouterr() == ("", "")  # the library has a warning


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_complex_numbers_are_refused(ending, tmp_path):
    file = tmp_path / f"a_0000{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((3, 4, 5), np.complex64)), str(file))
    with pytest.raises(DatasetError, match=r"case a: cannot read .*a_0000\.nii.*complex numbers"):
        read_one(file)


def test_scaled_values_are_the_library_s(tmp_path):
    file = written(tmp_path / "a.nii", np.ones((2, 3, 4), np.uint8))
    content = bytearray(file.read_bytes())
    content[112:120] = np.array([2, 1], "<f4").tobytes()
    file.write_bytes(content)
    assert set(np.unique(read_labels(file, case="a"))) == {3}


def test_a_cut_file_whose_header_says_that_voxels_have_no_bits(tmp_path):
    file = written(tmp_path / "a.nii", np.ones((2, 3, 4), np.uint8))
    content = bytearray(file.read_bytes()[:-5])
    content[72:74] = b"\0\0"
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=r"case a: cannot read .*a\.nii: it ends before its last voxel"):
        read_labels(file, case="a")


@pytest.mark.parametrize("cut", [10, 200, 1])
def test_damaged_label_maps_are_refused(cut, archive):
    file, _ = archive
    content = file.read_bytes()
    file.write_bytes(content[:-cut] if cut > 1 else content[:-8] + b"\0\0\0\0" + content[-4:])
    with pytest.raises(DatasetError, match=r"case a: cannot read .*a_0000\.nii\.gz"):
        read_labels(file, case="a")
