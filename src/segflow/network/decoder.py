"""The ascending half of a U-Net, with a segmentation head at every resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segflow.contracts.plan import Architecture
from segflow.network.blocks import CONVOLUTION, TRANSPOSED, ConvBlock

__all__ = ["Decoder"]


class Decoder(nn.Module):
    """Per level: upsample, join with the encoder's feature maps, convolve; a 1x1 convolution as head.

    Lists run from the coarsest level to full resolution.

    Source: method.md section 11.
    """

    def __init__(self, architecture: Architecture, output_channels: int) -> None:
        super().__init__()
        levels = range(architecture.n_stages - 2, -1, -1)
        self.transpconvs = nn.ModuleList(_upsampling(architecture, level) for level in levels)
        self.stages = nn.ModuleList(_stage(architecture, level) for level in levels)
        head = CONVOLUTION[architecture.dimensions]
        self.seg_layers = nn.ModuleList(
            head(architecture.features[level], output_channels, 1) for level in levels
        )

    def forward(self, features: Sequence[Tensor], *, all_levels: bool) -> list[Tensor]:
        """Logits from the encoder's feature maps.

        Args:
            features: One tensor per encoder stage, full resolution first.
            all_levels: Apply the head of every level, not of the last alone.

        Returns:
            Logits (b, outputs, *spatial), full resolution first; a single entry unless `all_levels`.

        Source: method.md section 11.
        """
        x = features[-1]
        logits: list[Tensor] = []
        last = len(self.stages) - 1
        for level, skip in enumerate(reversed(features[:-1])):
            x = torch.cat((self.transpconvs[level](x), skip), dim=1)
            x = self.stages[level](x)
            if all_levels or level == last:
                logits.append(self.seg_layers[level](x))
        return logits[::-1]


def _upsampling(architecture: Architecture, level: int) -> nn.Module:
    stride = architecture.strides[level + 1]
    transposed = TRANSPOSED[architecture.dimensions]
    return transposed(architecture.features[level + 1], architecture.features[level], stride, stride)


def _stage(architecture: Architecture, level: int) -> nn.Sequential:
    """Convolutions with the kernel of the encoder stage whose feature maps they join."""
    n, kernel = architecture.features[level], architecture.kernels[level]
    ones = (1,) * architecture.dimensions
    first = ConvBlock(2 * n, n, kernel=kernel, stride=ones)
    rest = [ConvBlock(n, n, kernel=kernel, stride=ones) for _ in range(1, architecture.decoder_blocks[level])]
    return nn.Sequential(first, *rest)
