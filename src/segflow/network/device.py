"""Where networks compute.

Memory that is freed and asked for again.
"""

from __future__ import annotations

import ctypes
import logging
import platform
from typing import Final

import torch

from segflow.contracts.errors import ConfigurationError

__all__ = ["choose_device", "keep_freed_memory"]

_logger = logging.getLogger("segflow")


def choose_device(wanted: str) -> str:
    """The device to compute on; says so when there is no GPU.

    Args:
        wanted: "auto", "cpu" or "cuda".

    Returns:
        "cpu" or "cuda".

    Raises:
        ConfigurationError: "cuda" was asked for and there is none, or it is none of these.
    """
    if wanted not in {"auto", "cpu", "cuda"}:
        raise ConfigurationError(f"device is {wanted!r}; it must be 'auto', 'cpu' or 'cuda'")
    if wanted == "cpu":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise ConfigurationError(
            "device is 'cuda', but no CUDA device is available; set it to 'auto' or 'cpu'"
        )
    _logger.warning("no GPU found: computing on the CPU")
    return "cpu"


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
