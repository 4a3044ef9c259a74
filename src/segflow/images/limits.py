"""What a header may declare: sizes that fit into file and memory, and finite positions within reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.processes.memory import check_memory

__all__ = ["DEFLATED", "UNBOUNDED", "check_geometry", "check_position", "check_size", "check_spacing"]

#: How many bytes one byte of a file can hold: not more than 1032 in deflate (gzip, PNG); in other methods, any number.
DEFLATED: Final = 1032.0
UNBOUNDED: Final = math.inf
_START_BYTES: Final = 1024  # allowance for tiny files
_SPACING_MM: Final = (1e-7, 1e6)
_POSITION_MM: Final = 1e9
_COPIES: Final = 2  # of the voxels as they are in the file, which libraries hold
_FLOAT_BYTES: Final = 4  # an image becomes float32, beside them


def check_size(sizes: Sequence[int], voxel_bytes: float, stored: int, packing: float = 1.0) -> None:
    """Compare the size in a header with the file's and with free memory, before any is allocated.

    Args:
        sizes: Voxels along each axis.
        voxel_bytes: Of all channels of a voxel.
        stored: Bytes of the file that can hold voxels.
        packing: How many bytes one of them can hold at most.

    Raises:
        DatasetError: There are no voxels, or more than the file can hold.
        MemoryShortageError: They are more than the memory can hold.
    """
    if not sizes or min(sizes) <= 0:
        raise DatasetError("it has no voxels; replace it, or remove the case")
    n_voxels = math.prod(sizes)
    words = f"its header declares {' x '.join(map(str, sizes))} voxels"
    room = stored * packing + (_START_BYTES if packing > 1 else 0)
    if n_voxels * voxel_bytes > room:
        raise DatasetError(
            f"it ends before its last voxel: {words}, more than {stored} bytes can hold; replace it, or remove the case"
        )
    check_memory(n_voxels * (_COPIES * max(voxel_bytes, 1) + _FLOAT_BYTES), words)


def check_spacing(spacing: Iterable[float]) -> None:
    """Refuse voxel sizes that are zero, not finite, or beyond reason; negative ones mean a mirrored axis.

    Raises:
        DatasetError: There is one.
    """
    smallest, largest = _SPACING_MM
    for value in spacing:
        if not smallest <= abs(value) <= largest:
            raise DatasetError(
                f"its header says that voxels are {value:g} mm wide, but {smallest:g} to {largest:g} are possible; "
                "correct the header"
            )


def check_position(what: str, values: Iterable[float]) -> None:
    """Refuse coordinates that are not finite or beyond reason.

    Args:
        what: For the message.
        values: Of an origin, a direction or a matrix.

    Raises:
        DatasetError: There is one.
    """
    for value in values:
        if not abs(value) <= _POSITION_MM:
            raise DatasetError(
                f"its header holds the value {value:g} in its {what}, which must be numbers from {-_POSITION_MM:g} to "
                f"{_POSITION_MM:g}; correct the header"
            )


def check_geometry(geometry: Geometry) -> None:
    """Refuse a geometry that no image has, as a library read it.

    Raises:
        DatasetError: Spacing, origin or direction hold a value that is not finite or beyond reason.
    """
    check_spacing(geometry.file_spacing_mm)
    check_position("origin", geometry.origin_mm)
    check_position("direction", geometry.direction)
