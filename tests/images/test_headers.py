"""Headers that libraries crash on, hang on or believe: one sentence, soon, and in bounded memory."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from image_samples import patch, read_one, save
from own_process import outcome_of

from segflow.contracts.errors import DatasetError
from segflow.images.cases import read_geometry, read_image, read_labels
from segflow.processes import memory

FOUND = Path(__file__).parents[2].parent / "shared" / "faults"
FOUND_FILES = sorted(file for file in FOUND.rglob("*") if file.suffix not in {"", ".md", ".raw"})
ARRAY = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
NAN, INFINITY = float("nan"), float("inf")
META = (
    "ObjectType = Image\nNDims = 3\nDimSize = 5 4 3\nElementType = MET_UCHAR\nElementSpacing = 1 1 1\n"
    "Offset = 0 0 0\nElementDataFile = LOCAL\n"
)
NRRD = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 5 4 3\nencoding: raw\nspacings: 1 1 1\n\n"


@pytest.mark.skipif(not FOUND_FILES, reason=f"the files that were found in the field are not in {FOUND}")
@pytest.mark.parametrize("file", FOUND_FILES, ids=lambda file: file.name)
def test_files_that_were_mishandled(file, tmp_path):
    said = outcome_of(file)
    assert said.startswith(f"case a: cannot read {file}: ")
    assert "\n" not in said


def nifti(tmp_path, *values, ending=".nii"):
    """A NIfTI file with changed fields of its header."""
    file = patch(save(tmp_path / "a_0000.nii", ARRAY), *values).rename(tmp_path / f"a_0000{ending}")
    if ending == ".nii.gz":
        file.write_bytes(gzip.compress(file.read_bytes()))
    return file


def refused(file, message):
    said = outcome_of(file)
    assert said.startswith(f"case a: cannot read {file}: ")
    assert message in said
    assert "\n" not in said


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("field", "message"),
    [
        ((284, "f", INFINITY), "in its sform"),
        ((296, "f", NAN), "in its sform"),
        ((292, "f", 1e30), "in its sform"),
        ((256, "f", NAN), "in its qform"),
        ((268, "f", -INFINITY), "in its qform"),
        ((40, "h", 0), "0 axes"),
        ((40, "h", 1), "1 axes"),
        ((40, "h", 8), "8 axes"),
        ((40, "h", -3), "-3 axes"),
        ((44, "h", 0), "no voxels"),
        ((44, "h", -4), "no voxels"),
        ((42, "3h", 32767, 32767, 32767), "it ends before its last voxel"),
        ((70, "h", 12345), "unknown data type"),
        ((108, "f", NAN), "voxels begin at byte"),
        ((108, "f", 1e30), "voxels begin at byte"),
        ((112, "2f", INFINITY, 0), "slope inf"),
        ((112, "2f", 2, NAN), "intercept nan"),
        ((112, "2f", 0, 3), "but no slope"),
        ((344, "4s", b"ni1\0"), "no NIfTI file"),
        ((0, "i", 349), "no NIfTI file"),
        ((80, "f", 0), "0 mm wide"),
        ((84, "f", NAN), "in its pixdim"),
        ((88, "f", INFINITY), "in its pixdim"),
        ((88, "f", 1e30), "in its pixdim"),
        ((88, "f", 1e-30), "1e-30 mm wide"),
    ],
    ids=str,
)
def test_nifti_headers(field, message, ending, tmp_path):
    refused(nifti(tmp_path, (252, "2h", 1, 1), field, ending=ending), message)


SLOPES = [(112, "2f", 2, 0), (112, "2f", 1, 1)]


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        *(("vectors", slope) for slope in SLOPES),
        *(("colours", field) for field in (*SLOPES, (68, "h", 1006), (68, "h", 1007))),
    ],
    ids=str,
)
def test_colours_and_vectors_of_nifti_with_a_slope_or_a_meaning(kind, field, tmp_path):
    """SimpleITK writes beyond its memory, or reads from there."""
    vectors = np.zeros((3, 4, 5, 3), np.uint8)
    file = save(tmp_path / "a_0000.nii", vectors if kind == "vectors" else ARRAY, is_vector=kind == "vectors")
    if kind == "colours":
        patch(file, (70, "2h", 128, 24), (42, "h", 1))
    assert read_one(file)[0].shape[0] == 3
    refused(patch(file, field), "gives colours or vectors a slope or a meaning")


def test_fields_of_nifti_that_do_not_count_may_hold_anything(tmp_path):
    """nibabel writes a slope of NaN for none."""
    changes = [(112, "2f", NAN, NAN), (252, "2h", 0, 0), (256, "18f", *[INFINITY] * 18), (92, "4f", *[0] * 4)]
    file = nifti(tmp_path, *changes)
    np.testing.assert_array_equal(read_one(file)[0][0], ARRAY)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("%s%n", "by a pattern"),
        ("b%03d.raw 1 3 1", "by a pattern"),
        ("../b.raw", "in another folder"),
        ("LIST\n../b.raw", "in another folder"),
    ],
)
def test_voxels_of_mhd_are_beside_it(data, message, tmp_path):
    file = tmp_path / "in" / "a_0000.mhd"
    file.parent.mkdir()
    for place in ("b.raw", "in/b.raw"):
        (tmp_path / place).write_bytes(ARRAY.tobytes())
    file.write_text(META.replace("LOCAL", "b.raw"))
    np.testing.assert_array_equal(read_one(file)[0][0], ARRAY)
    file.write_text(META.replace("LOCAL", data))
    refused(file, message)


#: What is replaced in a header, by what, and what is said then.
META_FAULTS = [
    ("NDims = 3", "NDims = 12", "NDims = '12'"),
    ("NDims = 3", "NDims = -1", "NDims = '-1'"),
    ("NDims = 3\n", "", "no MetaImage file"),
    ("5 4 3", "5 4", "DimSize = '5 4'"),
    ("5 4 3", "5 4 3000000000", "ends before its last voxel"),
    ("5 4 3", "99999999 99999999 99999999", "ends before its last voxel"),
    ("5 4 3", "5 -4 3", "no voxels"),
    ("MET_UCHAR", "MET_STRING", "of type STRING"),
    ("MET_UCHAR", "MET_UCHAR\nElementNumberOfChannels = 99999999999", "ends before its last voxel"),
    ("MET_UCHAR", "MET_UCHAR\nTransformMatrix = 1 0 0", "TransformMatrix = '1 0 0'"),
    ("MET_UCHAR", "MET_UCHAR\nTransformMatrix = 1 0 0 0 nan 0 0 0 1", "nan in its TransformMatrix"),
    ("1 1 1", "0 1 1", "0 mm wide"),
    ("1 1 1", "1 nan 1", "nan mm wide"),
    ("1 1 1", "1 1 1e30", "1e+30 mm wide"),
    ("0 0 0", "inf 0 0", "inf in its Offset"),
    ("LOCAL", "/etc/passwd", "in another file (/etc/passwd)"),
    ("LOCAL", "b.raw", "in another file (b.raw)"),
]
NRRD_FAULTS = [
    ("dimension: 3", "dimension: 99", "dimension = '99'"),
    ("sizes: 5 4 3", "sizes: 5 4", "sizes = '5 4'"),
    ("sizes: 5 4 3", "sizes: 5 4 99999999999", "ends before its last voxel"),
    ("sizes: 5 4 3\nencoding: raw", "sizes: 500 400 300\nencoding: gzip", "ends before its last voxel"),
    ("type: uchar", "type: double", "ends before its last voxel"),
    ("1 1 1", "1 nan 1", "nan mm wide"),
    ("1 1 1", "1 1 0", "0 mm wide"),
    ("1 1 1", "1 1 1e30", "1e+30 mm wide"),
    ("spacings: 1 1 1", "space: RAS\nspace directions: (1,0,0) (0,0,0) (0,0,1)", "0 mm wide"),
    ("raw", "raw\nspace: RAS\nspace origin: (0,nan,0)", "nan in its space origin"),
    ("raw", "raw\ndata file: b.raw", "in another file"),
    ("raw", "raw\ndata file: /etc/passwd", "in another file"),
]


@pytest.mark.parametrize(
    ("ending", "header", "old", "new", "message"),
    [
        *((".mha", META, *fault) for fault in META_FAULTS),
        *((".nrrd", NRRD, *fault) for fault in NRRD_FAULTS),
    ],
)
def test_headers_of_text(ending, header, old, new, message, tmp_path):
    file = tmp_path / f"a_0000{ending}"
    file.write_bytes(header.encode() + ARRAY.tobytes())
    np.testing.assert_array_equal(read_one(file)[0][0], ARRAY)
    assert old in header
    file.write_bytes(header.replace(old, new).encode() + ARRAY.tobytes())
    refused(file, message)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "i1") for name in ("signed char", "int8", "int8_t")),
        *((name, "u1") for name in ("uchar", "unsigned char", "uint8", "uint8_t")),
        *(
            (name, "i2")
            for name in ("short", "short int", "signed short", "signed short int", "int16", "int16_t")
        ),
        *((name, "u2") for name in ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t")),
        *((name, "i4") for name in ("int", "signed int", "int32", "int32_t")),
        *((name, "u4") for name in ("uint", "unsigned int", "uint32", "uint32_t")),
        *((name, "i8") for name in ("longlong", "long long int", "signed long long", "int64", "int64_t")),
        *((name, "u8") for name in ("ulonglong", "unsigned long long", "uint64", "uint64_t")),
        ("float", "f4"),
        ("double", "f8"),
    ],
)
def test_types_of_nrrd(name, kind, tmp_path):
    """Neither refused when whole, nor taken when cut."""
    file = tmp_path / "a_0000.nrrd"
    content = (
        NRRD.replace("uchar", name).replace("raw", "raw\nendian: little").encode()
        + ARRAY.astype(f"<{kind}").tobytes()
    )
    file.write_bytes(content)
    np.testing.assert_array_equal(read_one(file)[0][0], ARRAY)
    file.write_bytes(content[:-10])
    with pytest.raises(DatasetError, match=r"a_0000\.nrrd: "):
        read_one(file)


@pytest.mark.parametrize(
    ("place", "kind", "value", "message"),
    [
        (204, "d", NAN, "nan in its origin"),
        (212, "d", INFINITY, "inf in its origin"),
        (10, "f", 0, "0 mm wide"),
        (14, "f", INFINITY, "inf mm wide"),
        (18, "f", 1e30, "1e+30 mm wide"),
        (0, "H", 65535, "ends before its last voxel"),
        (0, "H", 0, "no voxels"),
    ],
)
def test_headers_of_gipl(place, kind, value, message, tmp_path):
    refused(patch(save(tmp_path / "a_0000.gipl", ARRAY), (place, kind, value), order=">"), message)


def png(width, height, bits, kind, content):
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)),
        (b"IDAT", content),
        (b"IEND", b""),
    ]
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("bits", "kind"), [(1, 0), (8, 0), (16, 2), (8, 3)])
@pytest.mark.parametrize("width", [0, 1_000_000, 4_294_967_295])
def test_png_that_declares_more_than_it_holds(bits, kind, width, tmp_path):
    file = tmp_path / "a_0000.png"
    file.write_bytes(png(width, 600_000, bits, kind, zlib.compress(bytes(100))))
    refused(file, "ends before its last voxel" if width else "damaged or no .png file")


@pytest.mark.parametrize(
    ("mode", "options"),
    [("LA", {}), ("L", {"transparency": 3}), ("I;16", {"transparency": 3})],
    ids=["alpha", "transparent grey", "16 bits"],
)
def test_grey_pictures_with_transparency(mode, options, tmp_path):
    file = tmp_path / "a_0000.png"
    grey = np.zeros((6, 5, 2) if mode == "LA" else (6, 5), "u2" if mode == "I;16" else "u1")
    PIL.Image.fromarray(grey).save(file, **options)
    refused(file, "of a kind that is not read, such as grey values with transparency (alpha)")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
@pytest.mark.parametrize(("place", "size"), [(18, 100_000_000), (22, 100_000_000)], ids=["columns", "rows"])
def test_bmp_that_declares_more_than_it_holds(mode, place, size, tmp_path):
    file = tmp_path / "a_0000.bmp"
    PIL.Image.fromarray(np.eye(30, dtype=np.uint8) * 255).convert(mode).save(file)
    assert read_one(file)[0].shape[1:] == (1, 30, 30)
    refused(patch(file, (place, "i", size)), "ends before its last voxel")


@pytest.mark.parametrize("ending", [".png", ".bmp"])
def test_label_maps_of_a_palette(ending, tmp_path):
    picture = PIL.Image.fromarray(np.eye(5, dtype=np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 128, 0, 0])
    picture.save(tmp_path / f"a{ending}")
    with pytest.raises(
        DatasetError, match=r"has 3 channels; .* the colours are read: save its indices as grey"
    ):
        read_labels(tmp_path / f"a{ending}", case="a")


@pytest.mark.parametrize("ending", [".bmp", ".jpg", ".png", ".tif", ".nii.gz", ".mha", ".nrrd"])
def test_images_that_memory_cannot_take(ending, tmp_path, monkeypatch):
    flat = ending in {".bmp", ".jpg"}
    array = np.zeros((60, 50) if flat or ending == ".png" else (3, 60, 50), np.uint8)
    file = tmp_path / f"a_0000{ending}"
    PIL.Image.fromarray(array).save(file) if flat else save(file, array, compressed=True)
    assert read_one(file)[0].any() is np.False_
    monkeypatch.setattr(memory, "available_bytes", lambda: array.size * 4)
    assert read_one(file)[0].any() is np.False_  # so little is not asked about
    monkeypatch.setattr(memory, "_SMALL_BYTES", 0)
    with pytest.raises(
        DatasetError, match=r"a_0000.*: its header declares .* of memory, and .* are available; "
    ):
        read_one(file)


def test_channels_that_memory_cannot_take_together(tmp_path, monkeypatch):
    files = [save(tmp_path / f"a_000{number}.nii", ARRAY) for number in range(4)]
    monkeypatch.setattr(memory, "_SMALL_BYTES", 0)
    monkeypatch.setattr(memory, "available_bytes", lambda: 6 * ARRAY.size)
    read_image(files[:1], case="a")
    with pytest.raises(
        DatasetError, match=r"^case a: it has 4 channels of \(3, 4, 5\) voxels .* of memory, and"
    ):
        read_image(files, case="a")


@pytest.mark.parametrize(("n_bytes", "declared"), [(300 << 20, 5), (40 << 20, 5), (40 << 20, 32767)])
def test_archives_that_unpack_to_more_than_their_header_declares(n_bytes, declared, tmp_path):
    file = nifti(tmp_path, (42, "3h", declared, declared, declared))
    file = file.rename(tmp_path / "b.nii")
    bomb = tmp_path / "a_0000.nii.gz"
    with gzip.open(bomb, "wb", 1) as archive:
        archive.write(file.read_bytes() + bytes(n_bytes))
    file.unlink()
    refused(bomb, "goes on for more than" if declared == 5 else "ends before its last voxel")


def test_archives_that_are_longer_than_what_they_hold(tmp_path):
    """They are not read to their end."""
    file = nifti(tmp_path, ending=".nii.gz")
    with file.open("ab") as archive:
        archive.truncate(2 << 30)  # takes no room on the disk
    refused(file, "goes on for more than 16 MiB")


def test_a_tiff_with_a_missing_tile_or_strip(tmp_path):
    array = np.full((64, 64), 7, np.uint8)
    for layout, tag in (({"tile": (16, 16)}, "TileOffsets"), ({"rowsperstrip": 16}, "StripByteCounts")):
        file = tmp_path / f"{tag}_0000.tif"
        tifffile.imwrite(file, array, photometric="minisblack", **layout)
        np.testing.assert_array_equal(read_one(file)[0][0, 0], array)
        with tifffile.TiffFile(file, mode="r+") as stream:
            place = stream.pages.first.tags[tag]
            place.overwrite([*place.value[:-1], 0])
        refused(file, "some are missing")


@pytest.mark.parametrize("kind", [{"imagej": True}, {"metadata": {}}], ids=["ImageJ", "tifffile"])
@pytest.mark.parametrize("ending", [".tif", ".tiff"])
def test_a_stack_in_a_list_of_one_page(kind, ending, tmp_path):
    file = tmp_path / f"a_0000{ending}"
    array = np.arange(6000, dtype=np.uint16).reshape(3, 40, 50)
    tifffile.imwrite(file, array, photometric="minisblack", truncate=True, **kind)
    refused(file, "a stack in a list of one page")
    tifffile.imwrite(file, array, photometric="minisblack", **kind)
    np.testing.assert_array_equal(read_one(file)[0][0], array)


def test_the_geometry_alone_is_checked_alike(tmp_path):
    file = nifti(tmp_path, (80, "f", 0))
    with pytest.raises(DatasetError, match=r"case a: cannot read .*a_0000\.nii: .* 0 mm wide"):
        read_geometry(file, case="a")
