"""The device that networks compute on, and how its process keeps memory."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from segflow.contracts.errors import ConfigurationError

__all__ = ["algorithms", "choose_device", "has_compiler", "keep_freed_memory"]

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


@contextmanager
def algorithms(*, deterministic: bool) -> Iterator[None]:
    """Let CUDA use the fastest algorithms in the block, or only those that give the same bits in every run.

    Deterministic ones are mostly slower. PyTorch warns of operations that have none. Enter the block before the first
    computation on a GPU.
    """
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=not deterministic, deterministic=deterministic
        ):
            yield
    finally:
        torch.use_deterministic_algorithms(mode=before[0], warn_only=before[1])


def has_compiler() -> bool:
    """Whether torch.compile can make kernels for GPUs here: it needs triton and a C compiler."""
    try:
        import triton  # type: ignore[import-not-found,unused-ignore]  # noqa: F401, PLC0415
    except ImportError:
        return False
    compilers = (os.environ.get("CC"), "cc", "gcc", "clang")
    return any(shutil.which(name) for name in compilers if name)
