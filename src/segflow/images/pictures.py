"""Pictures that Pillow reads better than SimpleITK, which takes cut files for whole and grey BMP for colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from segflow.contracts.case import Geometry
from segflow.images import itk
from segflow.images.formats import ending_of, geometry_of_picture

__all__ = ["read", "read_geometry"]

_FORMATS = {".png": "PNG", ".bmp": "BMP", ".jpg": "JPEG", ".jpeg": "JPEG"}
_GREY_OF_ONE_BIT = b"\x01\x00"  # bytes 24 and 25 of a PNG; SimpleITK stretches such values to 255


def read(file: Path) -> tuple[NDArray[Any], Callable[[], Geometry]]:
    """Read voxels, (c, 1, y, x) of the file's own type, and a function that gives the geometry.

    Raises:
        ValueError, OSError, SyntaxError: The file cannot be read.
    """
    if ending_of(file) == ".png" and not _is_mask(file):
        array, _ = itk.read(file)
    else:
        array = _read_with_pillow(file)
    return array, lambda: geometry_of_picture(file, array.shape[1:])


def read_geometry(file: Path) -> Geometry:
    """Read where an image lies; its voxels are read, too.

    Raises:
        ValueError, OSError, SyntaxError: The file cannot be read.
    """
    return read(file)[1]()


def _is_mask(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(26)[24:] == _GREY_OF_ONE_BIT


def _read_with_pillow(file: Path) -> NDArray[Any]:
    PIL.Image.MAX_IMAGE_PIXELS = None  # the user's own pictures, large as they may be
    with PIL.Image.open(file, formats=[_FORMATS[ending_of(file)]]) as picture:
        array = np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)
    array = array.astype(np.uint8) if array.dtype == np.bool_ else array
    return np.moveaxis(array, -1, 0)[:, None] if array.ndim == 3 else array[None, None]
