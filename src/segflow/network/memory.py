"""Memory of a device: how much is free, and clear errors when it runs out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from segflow.contracts.errors import SegflowError

__all__ = ["described_memory", "fits_in_memory", "free_memory", "ran_out"]

#: Each row: words that, all in one message of torch, mean that memory ran out.
#: On a GPU not every such error is an OutOfMemoryError: CUDA's start on a full card, cuDNN and cuBLAS have others.
#: Where cuDNN finds no memory for any of its algorithms, torch says that it found none ("GET was unable to find an
#: engine to execute this computation", "FIND was ...", and of its older interface the last row).
_OUT_OF_MEMORY: Final = (
    ("DefaultCPUAllocator", "can't allocate memory"),
    ("DefaultCPUAllocator", "not enough memory"),
    ("CUDA error: out of memory",),
    ("CUDNN_STATUS_ALLOC_FAILED",),
    ("CUBLAS_STATUS_ALLOC_FAILED",),
    ("nable to find an engine to execute this computation",),
    ("Unable to find a valid cuDNN algorithm to run convolution",),
)

_GB: Final = 1e9
_WORTH_MENTIONING_GB: Final = 1.0  # taken by others; CUDA itself takes half of that for this process


@contextmanager
def fits_in_memory(what: str, *, device: str, remedy: str, error: type[SegflowError]) -> Iterator[None]:
    """Say what to do when the block runs out of memory; other errors pass through.

    Args:
        what: The work of the block: "train 3d_fullres fold 0 (patch 128 x 128 x 128, batch 2)".
        device: "cpu", "cuda" or "cuda:0".
        remedy: What to do.
        error: Raised when memory ran out.
    """
    try:
        yield
    except RuntimeError as problem:  # torch's OutOfMemoryError is one
        if not ran_out(problem):
            raise
        raise error(f"{what} does not fit into {described_memory(device)}; {remedy}") from problem


def ran_out(error: RuntimeError) -> bool:
    """Whether an error of torch means that memory ran out, on a GPU or on the CPU."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(
        all(word in text for word in words) for words in _OUT_OF_MEMORY
    )


def free_memory(device: str | torch.device) -> int:
    """Bytes of a GPU that this process can still use: those nobody has, and those that torch holds in reserve."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def described_memory(device: str) -> str:
    """Such as "the memory of the NVIDIA H100 (80.0 GB, of which other programs hold 9.0 GB)"."""
    if torch.device(device).type == "cpu":
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return f"the memory of this machine ({total / _GB:.1f} GB, CPU)"
    try:
        free, total = torch.cuda.mem_get_info(device)
        others = (total - free - torch.cuda.memory_reserved(device)) / _GB
        name = torch.cuda.get_device_name(device)
    except (AssertionError, RuntimeError):  # CUDA itself could not start, or is not there
        return f"the memory of device {device}"
    taken = f", of which other programs hold {others:.1f} GB" if others >= _WORTH_MENTIONING_GB else ""
    return f"the memory of the {name} ({total / _GB:.1f} GB{taken})"
