"""The descending half of a U-Net, plain or residual."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from segflow.contracts.plan import Architecture
from segflow.network.blocks import ConvBlock, ResidualBlock

__all__ = ["Encoder"]

_BLOCKS: Final[dict[str, type[ConvBlock] | type[ResidualBlock]]] = {
    "plain": ConvBlock,
    "residual": ResidualBlock,
}


class Encoder(nn.Module):
    """Stages of blocks; the first block of a stage carries its stride. Source: method.md section 11."""

    def __init__(self, architecture: Architecture, input_channels: int) -> None:
        super().__init__()
        self.stem = _stem(architecture, input_channels)
        n_in = input_channels if self.stem is None else architecture.features[0]
        stages = []
        for index, n_out in enumerate(architecture.features):
            stages.append(_stage(architecture, index, n_in))
            n_in = n_out
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The feature maps of every stage.

        Args:
            x: Images, (b, c, *spatial).

        Returns:
            One tensor per stage, full resolution first.

        Source: method.md section 11.
        """
        if self.stem is not None:
            x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def _stem(architecture: Architecture, input_channels: int) -> ConvBlock | None:
    """Residual encoders begin with one convolution block: a shortcut needs feature maps to start from."""
    if architecture.encoder == "plain":
        return None
    ones = (1,) * architecture.dimensions
    return ConvBlock(input_channels, architecture.features[0], kernel=architecture.kernels[0], stride=ones)


def _stage(architecture: Architecture, index: int, n_in: int) -> nn.Sequential:
    block = _BLOCKS[architecture.encoder]
    n_out, kernel = architecture.features[index], architecture.kernels[index]
    ones = (1,) * architecture.dimensions
    first = block(n_in, n_out, kernel=kernel, stride=architecture.strides[index])
    rest = [
        block(n_out, n_out, kernel=kernel, stride=ones) for _ in range(1, architecture.encoder_blocks[index])
    ]
    return nn.Sequential(first, *rest)
