"""Reading a small part of a large memory-mapped array. Source: ours; figures in docs/decisions/0011."""

from __future__ import annotations

import mmap
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["announce"]


def announce(part: NDArray[Any]) -> None:
    """Tell the system that a part of a memory map is about to be read, so that it fetches all of it at once.

    Without that, each row that is not in memory yet is waited for by itself. Does nothing for other arrays, and where
    the system has no such call.

    Args:
        part: (..., y, x), a view.

    Source: ours.
    """
    mapping = _mapping_of(part)
    if mapping is None or not hasattr(mmap, "MADV_WILLNEED") or part.size == 0:
        return
    origin = np.frombuffer(mapping, np.uint8).ctypes.data
    rows, columns = part.shape[-2:]
    length = (rows - 1) * part.strides[-2] + columns * part.itemsize
    first = part.ctypes.data - origin
    steps = part.strides[:-2]
    for index in product(*map(range, part.shape[:-2])):
        start = first + sum(step * i for step, i in zip(steps, index, strict=True))
        page = start // mmap.PAGESIZE * mmap.PAGESIZE
        mapping.madvise(mmap.MADV_WILLNEED, page, start + length - page)


def _mapping_of(array: NDArray[Any]) -> mmap.mmap | None:
    base: Any = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None
