"""TIFF: pages and rarer kinds with tifffile; plain strips with SimpleITK, which knows all compressions."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.case import Geometry
from segflow.images import itk
from segflow.images.formats import geometry_of_picture

if TYPE_CHECKING:
    import tifffile

__all__ = ["read", "read_geometry"]

#: What tifffile raises for damaged files, beside ValueError.
_FAULTS = (struct.error, zlib.error, ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError)


@dataclass(frozen=True)
class _Pages:
    """What all pages of a file have in common.

    Attributes:
        shape: (pages, rows, columns).
        channels: Values per voxel.
        suits_itk: SimpleITK reads them as they are. It takes 16-bit floats for whole numbers, stretches masks of 1 bit
            to 255, looks palettes up, and reduces tiles to 8 bits.
    """

    shape: tuple[int, int, int]
    channels: int
    suits_itk: bool


def read(file: Path) -> tuple[NDArray[Any], Callable[[], Geometry]]:
    """Read voxels, (c, z, y, x) of the file's own type, and a function that gives the geometry.

    Values of a palette are read as numbers, not as colours.

    Raises:
        ValueError, OSError: The file is damaged or cut short, its pages differ, or it is compressed in an unknown way.
    """
    with _opened(file) as stream:
        pages = _survey(stream)
        array = None if pages.suits_itk else _read_pages(stream, pages)
    if array is None:
        array, _ = itk.read(file)
    return array, lambda: geometry_of_picture(file, pages.shape)


def read_geometry(file: Path) -> Geometry:
    """Read where an image lies, without its voxels.

    Raises:
        ValueError, OSError: The file is damaged or cut short, or its pages differ.
    """
    with _opened(file) as stream:
        return geometry_of_picture(file, _survey(stream).shape)


@contextmanager
def _opened(file: Path) -> Iterator[tifffile.TiffFile]:
    """A file; what goes wrong with it in the block is a ValueError or OSError.

    tifffile logs a broken list of pages, and takes the file for one of fewer pages.
    """
    import tifffile  # noqa: PLC0415  only for data sets of TIFF files

    errors = []

    def note(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR and "TiffPages" in record.getMessage():
            errors.append(record.getMessage())
        return False

    logger = tifffile.logger()
    logger.addFilter(note)
    try:
        with tifffile.TiffFile(file) as stream:
            len(stream.pages)  # finds all pages
            if errors:
                raise ValueError(f"its list of pages is damaged or cut short ({errors[0]})")
            yield stream
    except _FAULTS as problem:
        raise ValueError(f"its pages cannot be read ({problem})") from None
    finally:
        logger.removeFilter(note)


def _survey(stream: tifffile.TiffFile) -> _Pages:
    import tifffile  # noqa: PLC0415  only for data sets of TIFF files

    kinds = [_kind(page) for page in stream.pages]
    if not kinds:
        raise ValueError("it has no page")
    if len(set(kinds)) > 1:
        raise ValueError("its pages differ in size or type")
    page = stream.pages.first
    samples, bits = page.samplesperpixel, page.bitspersample
    grey, colours = (
        {tifffile.PHOTOMETRIC.MINISWHITE, tifffile.PHOTOMETRIC.MINISBLACK},
        {tifffile.PHOTOMETRIC.RGB},
    )
    suits_itk = (
        not page.is_tiled
        and (samples == 1 or page.planarconfig == tifffile.PLANARCONFIG.CONTIG)
        and page.photometric in (grey if samples == 1 else colours)
        and (bits in {8, 32} or (bits == 16 and page.sampleformat != tifffile.SAMPLEFORMAT.IEEEFP))
    )
    return _Pages((len(kinds), page.imagelength, page.imagewidth), samples, suits_itk)


def _kind(page: Any) -> tuple[object, ...]:
    size = (page.imagelength, page.imagewidth, page.samplesperpixel, page.planarconfig)
    return (*size, page.bitspersample, page.sampleformat, page.photometric, page.compression, page.is_tiled)


def _read_pages(stream: tifffile.TiffFile, pages: _Pages) -> NDArray[Any]:
    """Voxels, (c, z, y, x)."""
    array = np.stack([page.asarray() for page in stream.pages])
    if pages.channels == 1:
        array = array.reshape(1, *pages.shape)
    elif array.shape[1] == pages.channels and array.shape[1:] != (*pages.shape[1:], pages.channels):  # planes
        array = np.moveaxis(array, 1, 0)
    else:
        array = np.moveaxis(array, -1, 0)
    if array.shape != (pages.channels, *pages.shape):
        raise ValueError(f"its pages hold arrays of shape {array.shape[1:]}")
    return array.astype(np.uint8) if array.dtype == np.bool_ else array
