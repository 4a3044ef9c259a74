"""Memory that is freed and asked for again. Source: ours."""

from __future__ import annotations

import ctypes
import platform
from typing import Final

__all__ = ["keep_freed_memory"]

#: Parameters of glibc's mallopt(3): never trim the heap, never map a request on its own.
_KEEP: Final = {-1: -1, -4: 0}


def keep_freed_memory() -> None:
    """Let this process reuse the memory that it frees.

    By default glibc hands every large array back to the system, which clears each page anew when the next step asks for
    it: a tenth of a training step on a CPU, a sixth of a prediction. With other C libraries nothing is done.

    Source: ours (docs/log.md has the figures).
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in _KEEP.items():
        mallopt(parameter, value)
