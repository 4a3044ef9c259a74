"""Networks that answer with probabilities. Source: method.md sections 17 and 26."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["with_probabilities"]


def with_probabilities(
    network: Callable[[Tensor], Tensor], *, has_regions: bool
) -> Callable[[Tensor], Tensor]:
    """A network whose logits are turned into probabilities at once, so that these are averaged.

    Args:
        network: (b, c, spatial) to logits (b, k, spatial).
        has_regions: The outputs are regions, which may overlap, rather than classes.

    Returns:
        (b, c, spatial) to probabilities (b, k, spatial), float32.

    Source: method.md section 26, fold and mirror averaging.
    """

    def probabilities(batch: Tensor) -> Tensor:
        logits = network(batch).float()
        return torch.sigmoid(logits) if has_regions else torch.softmax(logits, dim=1)

    return probabilities
