"""The arithmetic of a network that predicts. Source: method.md section 16; precisions on a CPU are ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from segflow.recipes.inference import Precision

__all__ = ["in_precision"]

_TYPES: Final = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def in_precision(
    network: Callable[[Tensor], Tensor], precision: Precision, device: str
) -> Callable[[Tensor], Tensor]:
    """A network that computes in some precision and answers in float32.

    Args:
        network: (b, c, spatial) to logits (b, k, spatial).
        precision: "auto" is float16 on a GPU and float32 on a CPU.
        device: Where the network is.

    Returns:
        The same network; its answer leaves the precision before anything is added up.

    Source: method.md section 16 (half precision on CUDA).
    """
    kind = torch.device(device).type
    if precision == "auto":
        precision = "float16" if kind == "cuda" else "float32"

    def answer(batch: Tensor) -> Tensor:
        with torch.autocast(kind, dtype=_TYPES.get(precision), enabled=precision in _TYPES):
            return network(batch).float()

    return answer
