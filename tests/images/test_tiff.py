"""TIFF: what SimpleITK reads, what it must not be trusted with, and damaged files."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
from image_samples import noise, read_one, refused_cuts

from segflow.contracts.errors import DatasetError
from segflow.images.cases import read_geometry, read_labels

KINDS = [f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)]
KINDS += ["float16", "float32", "float64", "bool"]
GREY = {"photometric": "minisblack"}


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_value_types(kind, axes, tmp_path):
    array = noise((3, 40, 50)[-axes:], kind)
    tifffile.imwrite(tmp_path / "a_0000.tif", array, **GREY)
    image, geometry = read_one(tmp_path / "a_0000.tif")
    np.testing.assert_array_equal(image[0], array.reshape(geometry.shape))
    np.testing.assert_array_equal(read_labels(tmp_path / "a_0000.tif", case="a"), image[0])
    assert read_geometry(tmp_path / "a_0000.tif", case="a") == geometry
    assert geometry.file_dimensions == axes


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
@pytest.mark.parametrize(
    "layout",
    [
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"tile": (16, 16), "compression": "zlib"},
        {"bigtiff": True},
        {"bigtiff": True, "tile": (16, 16)},
        {"byteorder": ">"},
        {"byteorder": ">", "tile": (16, 16)},
        {"rowsperstrip": 7},
        {"photometric": "miniswhite"},
    ],
    ids=str,
)
@pytest.mark.parametrize("axes", [2, 3])
def test_layouts(kind, layout, axes, tmp_path):
    array = noise((6, 40, 50)[-axes:], kind)
    tifffile.imwrite(tmp_path / "a_0000.tif", array, **(GREY | layout))
    image, geometry = read_one(tmp_path / "a_0000.tif")
    np.testing.assert_array_equal(image[0], array.reshape(geometry.shape))


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("pages", [1, 2])
def test_colours(planes, kind, pages, tmp_path):
    array = noise((pages, 40, 50, 3), kind)
    stored = np.moveaxis(array, -1, 1) if planes == "separate" else array
    with tifffile.TiffWriter(tmp_path / "a_0000.tif") as file:
        for page in stored:
            file.write(np.ascontiguousarray(page), photometric="rgb", planarconfig=planes, metadata=None)
    image, geometry = read_one(tmp_path / "a_0000.tif")
    np.testing.assert_array_equal(image, np.moveaxis(array, -1, 0))
    assert geometry.shape == (pages, 40, 50)


def test_a_palette_holds_labels_not_colours(tmp_path):
    labels = noise((40, 50)) % 3
    tifffile.imwrite(tmp_path / "a.tif", labels, photometric="palette", colormap=noise((3, 256), "uint16"))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif", case="a")[0], labels)


@pytest.mark.parametrize(
    "layout", [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"bigtiff": True}], ids=str
)
@pytest.mark.parametrize("kind", ["uint8", "float64"])
def test_a_file_that_was_cut_short_is_refused(layout, kind, tmp_path, capfd):
    file = tmp_path / "a_0000.tif"
    tifffile.imwrite(file, noise((5, 40, 50), kind), **(GREY | layout))
    size = file.stat().st_size
    cuts = [*range(0, size, size // 50), size - 300]
    assert len(refused_cuts(file, file, cuts)) >= len(cuts) - 1
    assert capfd.readouterr() == ("", "")


def test_pages_that_differ(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a_0000.tif") as file:
        file.write(noise((40, 50)), metadata=None)
        file.write(noise((20, 50)), metadata=None)
    with pytest.raises(DatasetError, match="its pages differ in size or type"):
        read_one(tmp_path / "a_0000.tif")


def test_a_directory_that_never_ends(tmp_path):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, noise((40, 50)), metadata=None, **GREY)
    content = bytearray(file.read_bytes())
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    content[start + 2 + 12 * count : start + 6 + 12 * count] = struct.pack("<I", start)
    file.write_bytes(content)
    with pytest.raises(DatasetError, match="circular"):
        read_geometry(file, case="a")
