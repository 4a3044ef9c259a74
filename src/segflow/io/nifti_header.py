"""The header of a NIfTI-1 file: the part that is needed here, read and written. Source: the NIfTI-1 standard."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

__all__ = ["HEADER_BYTES", "Header", "new_header", "parse_header"]

HEADER_BYTES: Final = 348
_FIRST_VOXEL: Final = 352  # after the header: four bytes that say that nothing else is in between
_ONE_FILE: Final = b"n+1\0"  # header and voxels
#: Codes of the types that label maps and images have.
_CODES: Final = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768}
_DISPLACEMENT: Final = 1006
_TYPES: Final = {code: name for name, code in _CODES.items()}
_PLACE: Final = "<4fB2h18f"  # see Header.place


@dataclass(frozen=True)
class Header:
    """What a header says.

    Attributes:
        sizes: Voxels along each axis, x first; without last axes of one voxel, as far as there are more than three.
        spacing_mm: Along x, y, z, as stored: also negative, or 0.
        dtype: Of the voxels, with their byte order; None for complex numbers, colours and whole numbers of 64 bits.
        bits: Of a voxel, as the header says; the type says it, too.
        offset: Of the first voxel.
        is_scaled: Voxels are to be multiplied or shifted.
        is_one_file: The voxels are in the same file.
        is_displacement: The voxels are vectors of a deformation.
        place: pixdim[0..3], xyzt_units, qform_code, sform_code, quaternion and offset (6), affine (12), in hexadecimal.
    """

    sizes: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    dtype: np.dtype[Any] | None
    bits: int
    offset: int
    is_scaled: bool
    is_one_file: bool
    is_displacement: bool
    place: str

    @property
    def is_ordinary(self) -> bool:
        """One or several images of two or three axes, stored behind the header as the numbers that they are."""
        return (
            self.dtype is not None
            and self.is_one_file
            and not self.is_scaled
            and not self.is_displacement
            and len(self.sizes) in {2, 3, 4}
            and min(self.sizes) > 0
            and min(self.spacing_mm[: len(self.sizes)]) > 0
            and self.offset > HEADER_BYTES
        )

    @property
    def n_bytes(self) -> int:
        """Of the file, uncompressed, if it is whole."""
        bits = self.bits if self.dtype is None else 8 * self.dtype.itemsize
        return self.offset + math.prod(self.sizes) * bits // 8


def parse_header(content: bytes) -> Header | None:
    """Read a header.

    Args:
        content: The beginning of a file, or all of it, uncompressed.

    Returns:
        The header; None if it is none of NIfTI-1.

    Source: the NIfTI-1 standard.
    """
    order = next((o for o in "<>" if content[:4] == struct.pack(f"{o}i", HEADER_BYTES)), None)
    if order is None or len(content) < HEADER_BYTES:
        return None
    axes, *sizes = struct.unpack_from(f"{order}8h", content, 40)
    while axes > 3 and sizes[axes - 1] == 1:
        axes -= 1
    (intent,) = struct.unpack_from(f"{order}h", content, 68)
    kind, bits = struct.unpack_from(f"{order}2h", content, 70)
    offset, slope, intercept = struct.unpack_from(f"{order}3f", content, 108)
    if not (0 < axes < 8 and math.isfinite(offset)):
        return None
    place = (
        *struct.unpack_from(f"{order}4f", content, 76),
        content[123],
        *struct.unpack_from(f"{order}2h18f", content, 252),
    )
    return Header(
        sizes=tuple(sizes[:axes]),
        spacing_mm=(place[1], place[2], place[3]),
        dtype=np.dtype(f"{order}{_TYPES[kind]}") if kind in _TYPES else None,
        bits=bits,
        offset=int(offset),
        is_scaled=slope not in {0, 1} or intercept != 0,
        is_one_file=content[344:HEADER_BYTES] == _ONE_FILE,
        is_displacement=intent == _DISPLACEMENT,
        place=struct.pack(_PLACE, *place).hex(),
    )


def new_header(sizes: tuple[int, ...], dtype: np.dtype[Any], place: str) -> bytes:
    """Make a header, and what stands between it and the first voxel.

    Args:
        sizes: Voxels along each axis, x first.
        dtype: Of the voxels, which follow in little-endian order.
        place: Of another file's header, which is repeated bit by bit.

    Returns:
        All that comes before the voxels.

    Source: the NIfTI-1 standard.
    """
    content = bytearray(_FIRST_VOXEL)
    fields = struct.unpack(_PLACE, bytes.fromhex(place))
    struct.pack_into("<i", content, 0, HEADER_BYTES)
    content[38:39] = b"r"
    struct.pack_into("<8h", content, 40, len(sizes), *sizes, *(1,) * (7 - len(sizes)))
    struct.pack_into("<2h", content, 70, _CODES[dtype.str[1:]], dtype.itemsize * 8)
    struct.pack_into("<4f", content, 76, *fields[:4])
    struct.pack_into("<2f", content, 108, _FIRST_VOXEL, 1)
    struct.pack_into("<B", content, 123, fields[4])
    struct.pack_into("<2h18f", content, 252, *fields[5:])
    content[344:HEADER_BYTES] = _ONE_FILE
    return bytes(content)
