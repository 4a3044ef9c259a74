"""Initial weights."""

from __future__ import annotations

import torch
from torch import nn

from segflow.network.blocks import LEAK, ResidualBlock

__all__ = ["initialise_"]


def initialise_(network: nn.Module, generator: torch.Generator) -> None:
    """Overwrite all parameters with their initial values.

    Kaiming-normal convolutions with zero bias; normalisation is the identity, except that of a residual
    block's last one, which is zero so that the block starts as its shortcut.

    Args:
        network: Any module of this package.
        generator: The source of randomness.

    Source: method.md section 11.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=LEAK, mode="fan_in", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.GroupNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            nn.init.zeros_(module.conv2.norm.weight)
            nn.init.zeros_(module.conv2.norm.bias)
