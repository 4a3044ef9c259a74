"""Pictures that Pillow reads better than SimpleITK, which takes cut files for whole and grey BMP for colours.

SimpleITK would write a resolution into BMP files, which no reader here looks at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from segflow.contracts.case import Geometry
from segflow.images import itk
from segflow.images.formats import ending_of
from segflow.images.headers import check_header
from segflow.images.limits import UNBOUNDED, check_size

__all__ = ["read_voxels", "write_bmp"]

_FORMATS = {".png": "PNG", ".bmp": "BMP", ".jpg": "JPEG", ".jpeg": "JPEG"}
_RAW, _PIXELS = (
    {0, 3},
    8.0,
)  # kinds of BMP that are not compressed, and how many of their pixels a byte can hold
_GREY_OF_ONE_BIT = b"\x01\x00"  # bytes 24 and 25 of a PNG; SimpleITK stretches such values to 255


def read_voxels(file: Path) -> NDArray[Any]:
    """Read voxels, (c, 1, y, x) of the file's own type.

    Raises:
        ValueError, OSError, SyntaxError: The file cannot be read.
    """
    ending = ending_of(file)
    if ending == ".png" and not _is_mask(file):  # Pillow would reduce colours of 16 bits to 8
        return itk.read_voxels(file)
    check_header(file)
    PIL.Image.MAX_IMAGE_PIXELS = None  # the user's own pictures, large as they may be
    with PIL.Image.open(file, formats=[_FORMATS[ending]]) as picture:
        is_raw = ending == ".bmp" and picture.info.get("compression") in _RAW
        check_size(
            picture.size, len(picture.getbands()), file.stat().st_size, _PIXELS if is_raw else UNBOUNDED
        )
        array = np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)
    array = array.astype(np.uint8) if array.dtype == np.bool_ else array
    return np.moveaxis(array, -1, 0)[:, None] if array.ndim == 3 else array[None, None]


def write_bmp(file: Path, image: NDArray[Any], _: Geometry) -> None:
    """Write one channel, (y, x), of 8 bits, without a resolution."""
    PIL.Image.fromarray(image).save(file, "BMP", dpi=(0, 0))


def _is_mask(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(26)[24:] == _GREY_OF_ONE_BIT
