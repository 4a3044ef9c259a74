"""TIFF: pages and rarer kinds with tifffile; plain strips with SimpleITK, which knows all compressions.

SimpleITK would write a resolution, which no reader here looks at.
"""

from __future__ import annotations

import logging
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.images import itk
from segflow.images.limits import DEFLATED, UNBOUNDED, check_size

if TYPE_CHECKING:
    from tifffile import TiffFile

__all__ = ["read_voxels", "write"]

#: What tifffile raises for damaged files, beside ValueError.
_FAULTS = (struct.error, zlib.error, ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError)
#: Values of tags, as TIFF defines them.
_GREY, _COLOURS, _CONTIGUOUS, _FLOATS = {0, 1}, {2}, 1, 3
_PLAIN, _DEFLATE = 1, {8, 32946, 50013}  # kinds of compression


def read_voxels(file: Path) -> NDArray[Any]:
    """Read voxels, (c, z, y, x) of the file's own type. Values of a palette are read as numbers, not as colours.

    Raises:
        ValueError, OSError: The file is damaged or cut short, its pages differ, or it is compressed in an unknown way.
    """
    with _opened(file) as stream:
        kinds = {_kind(page) for page in stream.pages}
        if not kinds:
            raise ValueError("it has no page")
        if len(kinds) > 1:
            raise ValueError("its pages differ in size or type")
        _check_content(stream, file.stat().st_size)
        array = None if _suits_itk(stream.pages.first) else _read_pages(stream)
    return itk.read_voxels(file) if array is None else array


def write(file: Path, volume: NDArray[Any], _: Geometry) -> None:
    """Write one channel, (z, y, x) or (y, x), compressed, a page per slice, without a resolution."""
    import tifffile  # noqa: PLC0415  only for data sets of TIFF files

    tifffile.imwrite(
        file, volume, photometric="minisblack", compression="zlib", metadata=None, software=False, ome=False
    )


@contextmanager
def _opened(file: Path) -> Iterator[TiffFile]:
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


def _kind(page: Any) -> tuple[object, ...]:
    """What all pages of a file must have in common."""
    size = (page.imagelength, page.imagewidth, page.samplesperpixel, page.planarconfig)
    return (*size, page.bitspersample, page.sampleformat, page.photometric, page.compression, page.is_tiled)


def _check_content(stream: TiffFile, file_bytes: int) -> None:
    """Hold what the pages declare against what is in the file, before memory is taken.

    Raises:
        DatasetError: More is declared than the file or the memory can hold, a part of a page is missing, or the file
            holds a stack that its list of pages does not show, as ImageJ writes it.
    """
    first: Any = stream.pages.first
    sizes = (len(stream.pages), first.imagedepth, first.imagelength, first.imagewidth)
    packing = 1.0 if first.compression == _PLAIN else DEFLATED if first.compression in _DEFLATE else UNBOUNDED
    check_size(sizes, first.samplesperpixel * first.bitspersample / 8, file_bytes, packing)
    for page in stream.pages:
        parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
        n_parts = math.prod(page.chunked)
        if len(parts) < n_parts or any(offset == 0 or count == 0 for offset, count in parts):
            raise DatasetError(
                f"{n_parts} parts make up a page, and some are missing; replace it, or remove the case"
            )
    is_described = stream.is_imagej or stream.is_shaped  # a description of the stack is in the first page
    if is_described and len(stream.pages) == 1 and stream.series[0].size > first.size:
        raise DatasetError(
            "it is a stack in a list of one page, as ImageJ writes large ones; save it with one page per slice"
        )


def _suits_itk(page: Any) -> bool:
    """Whether SimpleITK reads such pages as they are.

    It takes 16-bit floats for whole numbers, stretches masks of 1 bit to 255, looks palettes up, and reduces tiles to
    8 bits.
    """
    is_grey, bits = page.samplesperpixel == 1, page.bitspersample
    return (
        not page.is_tiled
        and (is_grey or page.planarconfig == _CONTIGUOUS)
        and page.photometric in (_GREY if is_grey else _COLOURS)
        and (bits in {8, 32} or (bits == 16 and page.sampleformat != _FLOATS))
    )


def _read_pages(stream: TiffFile) -> NDArray[Any]:
    """Voxels, (c, z, y, x)."""
    page: Any = stream.pages.first
    channels, size = page.samplesperpixel, (page.imagelength, page.imagewidth)
    array = np.stack([page.asarray() for page in stream.pages])
    if channels == 1:
        array = array.reshape(1, len(array), *size)
    elif array.shape[1] == channels and array.shape[1:] != (*size, channels):  # planes
        array = np.moveaxis(array, 1, 0)
    else:
        array = np.moveaxis(array, -1, 0)
    if array.shape != (channels, len(stream.pages), *size):
        raise ValueError(f"its pages hold arrays of shape {array.shape[1:]}")
    return array.astype(np.uint8) if array.dtype == np.bool_ else array
