"""Clear errors when memory runs out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from segflow.contracts.errors import TrainingError

__all__ = ["fits_in_memory", "ran_out"]

#: Each row: words that, all in one message of torch, mean that memory ran out.
#: On a GPU not every such error is an OutOfMemoryError: CUDA's start on a full card, cuDNN and cuBLAS have others.
_OUT_OF_MEMORY: Final = (
    ("DefaultCPUAllocator", "can't allocate memory"),
    ("DefaultCPUAllocator", "not enough memory"),
    ("CUDA error: out of memory",),
    ("CUDNN_STATUS_ALLOC_FAILED",),
    ("CUBLAS_STATUS_ALLOC_FAILED",),
)

_GB: Final = 1e9
_WORTH_MENTIONING_GB: Final = 1.0  # taken by others; CUDA itself takes half of that for this process


@contextmanager
def fits_in_memory(what: str, *, device: str) -> Iterator[None]:
    """Say what to do when the block runs out of memory; other errors pass through.

    Args:
        what: The work of the block: "training 3d_fullres (patch 128 x 128 x 128, batch 2)".
        device: "cpu", "cuda" or "cuda:0".

    Raises:
        TrainingError: Memory ran out.
    """
    try:
        yield
    except RuntimeError as error:  # torch's OutOfMemoryError is one
        if not ran_out(error):
            raise
        raise TrainingError(
            f"{what} does not fit into the memory of {_described(device)}; plan for a smaller card with "
            "planning.gpu_memory_gb (smaller patch and batch), or set a smaller training.batch_size"
        ) from error


def ran_out(error: RuntimeError) -> bool:
    """Whether an error of torch means that memory ran out, on a GPU or on the CPU."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(
        all(word in text for word in words) for words in _OUT_OF_MEMORY
    )


def _described(device: str) -> str:
    if torch.device(device).type == "cpu":
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return f"this machine ({total / _GB:.1f} GB, CPU)"
    try:
        free, total = torch.cuda.mem_get_info(device)
        others = (total - free - torch.cuda.memory_reserved(device)) / _GB
        name = torch.cuda.get_device_name(device)
    except (AssertionError, RuntimeError):  # CUDA itself could not start, or is not there
        return f"device {device}"
    taken = f", of which other programs hold {others:.1f} GB" if others >= _WORTH_MENTIONING_GB else ""
    return f"the {name} ({total / _GB:.1f} GB{taken})"
