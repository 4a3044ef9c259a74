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
from segflow.images.limits import DEFLATED, UNBOUNDED, check_size

__all__ = ["read_voxels", "write_bmp"]

_FORMATS = {".png": "PNG", ".bmp": "BMP", ".jpg": "JPEG", ".jpeg": "JPEG"}
_RAW = {0, 3}  # kinds of BMP that are not compressed
_PIXELS = 8.0  # that a byte can hold, before it is compressed


def read_voxels(file: Path) -> NDArray[Any]:
    """Read voxels, (c, 1, y, x) of the file's own type.

    Raises:
        ValueError, OSError, SyntaxError: The file cannot be read.
    """
    ending = ending_of(file)
    PIL.Image.MAX_IMAGE_PIXELS = None  # the user's own pictures, large as they may be
    with PIL.Image.open(file, formats=[_FORMATS[ending]]) as picture:
        is_raw = ending == ".bmp" and picture.info.get("compression") in _RAW
        packing = DEFLATED * _PIXELS if ending == ".png" else _PIXELS if is_raw else UNBOUNDED
        check_size(picture.size, len(picture.getbands()), file.stat().st_size, packing)
        if ending == ".png" and picture.mode != "1":  # Pillow would reduce colours of 16 bits to 8
            return itk.read_voxels(file)  # which stretches masks of 1 bit to 255
        array = np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)
    array = array.astype(np.uint8) if array.dtype == np.bool_ else array
    return np.moveaxis(array, -1, 0)[:, None] if array.ndim == 3 else array[None, None]


def write_bmp(file: Path, image: NDArray[Any], _: Geometry) -> None:
    """Write one channel, (y, x), of 8 bits, without a resolution."""
    PIL.Image.fromarray(image).save(file, "BMP", dpi=(0, 0))
