"""The device that networks compute on, and how its process keeps memory."""

from __future__ import annotations

import ctypes
import logging
import platform
from typing import Final

import torch

from segflow.contracts.errors import ConfigurationError

__all__ = ["choose_device", "keep_freed_memory"]

#: Parameters of glibc's mallopt(3): never trim the heap, never map a request on its own.
_KEEP: Final = {-1: -1, -4: 0}

_logger = logging.getLogger("segflow")


def choose_device(wanted: str) -> str:
    """The device to compute on; logs a warning when there is no GPU.

    Args:
        wanted: "auto", "cpu" or "cuda".

    Returns:
        "cpu" or "cuda".

    Raises:
        ConfigurationError: "cuda" was asked for and there is none, or the name is unknown.
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


def keep_freed_memory() -> None:
    """Let this process reuse the memory that it frees.

    By default glibc returns every large array to the system, which clears each page again when the next step allocates
    it: a tenth of a training step on a CPU, a sixth of a prediction (figures in docs/log.md). With other C libraries
    nothing is done.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in _KEEP.items():
        mallopt(parameter, value)
