"""A plan's architecture as a torch module: encoder, decoder, and the U-Net. Source: method.md section 11."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from segflow.contracts.plan import Architecture
from segflow.network.blocks import CONVOLUTION, TRANSPOSED, ConvBlock, ResidualBlock
from segflow.network.weights import initialise_

__all__ = ["UNet", "arranged", "build_network", "memory_format"]

_BLOCKS: Final[dict[str, type[ConvBlock] | type[ResidualBlock]]] = {
    "plain": ConvBlock,
    "residual": ResidualBlock,
}


class Encoder(nn.Module):
    """The descending half: stages of blocks, the first block of a stage with its stride."""

    def __init__(self, architecture: Architecture, input_channels: int) -> None:
        super().__init__()
        self.stem = _stem(architecture, input_channels)
        n_in = input_channels if self.stem is None else architecture.features[0]
        stages = []
        for index, n_out in enumerate(architecture.features):
            stages.append(_encoder_stage(architecture, index, n_in))
            n_in = n_out
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps of images (b, c, *spatial): one tensor per stage, full resolution first."""
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
    block = partial(ConvBlock, kernel=architecture.kernels[0], stride=ones, affine=architecture.norm_affine)
    return block(input_channels, architecture.features[0])


def _encoder_stage(architecture: Architecture, index: int, n_in: int) -> nn.Sequential:
    n_out, kernel = architecture.features[index], architecture.kernels[index]
    ones = (1,) * architecture.dimensions
    block = partial(_BLOCKS[architecture.encoder], kernel=kernel, affine=architecture.norm_affine)
    first = block(n_in, n_out, stride=architecture.strides[index])
    rest = [block(n_out, n_out, stride=ones) for _ in range(1, architecture.encoder_blocks[index])]
    return nn.Sequential(first, *rest)


class Decoder(nn.Module):
    """The ascending half; per level: upsample, join with the encoder's feature maps, convolve; a 1x1 head.

    Lists run from the coarsest level to full resolution. Coarse levels that the architecture gives no head have an
    identity in its place, which has no parameters and is not called.
    """

    def __init__(self, architecture: Architecture, output_channels: int) -> None:
        super().__init__()
        levels = range(architecture.n_stages - 2, -1, -1)
        self.transpconvs = nn.ModuleList(_upsampling(architecture, level) for level in levels)
        self.stages = nn.ModuleList(_decoder_stage(architecture, level) for level in levels)
        head = partial(CONVOLUTION[architecture.dimensions], kernel_size=1, bias=architecture.head_bias)
        self.seg_layers = nn.ModuleList(
            head(architecture.features[level], output_channels)
            if level < architecture.n_outputs
            else nn.Identity()
            for level in levels
        )

    def forward(self, features: Sequence[Tensor], *, scales: int) -> list[Tensor]:
        """Logits from the encoder's feature maps.

        Args:
            features: One tensor per encoder stage, full resolution first.
            scales: Of how many levels, from full resolution on, to compute the logits.

        Returns:
            Logits (b, outputs, *spatial), full resolution first.
        """
        x = features[-1]
        logits: list[Tensor] = []
        for level, skip in enumerate(reversed(features[:-1])):
            x = torch.cat((self.transpconvs[level](x), skip), dim=1)
            x = self.stages[level](x)
            if len(self.stages) - level <= scales:
                logits.append(self.seg_layers[level](x))
        return logits[::-1]


def _upsampling(architecture: Architecture, level: int) -> nn.Module:
    stride = architecture.strides[level + 1]
    transposed = partial(TRANSPOSED[architecture.dimensions], bias=architecture.upsampling_bias)
    return transposed(architecture.features[level + 1], architecture.features[level], stride, stride)


def _decoder_stage(architecture: Architecture, level: int) -> nn.Sequential:
    """Convolutions with the kernel of the encoder stage whose feature maps they join."""
    n, ones = architecture.features[level], (1,) * architecture.dimensions
    block = partial(
        ConvBlock, kernel=architecture.kernels[level], stride=ones, affine=architecture.norm_affine
    )
    first = block(2 * n, n)
    rest = [block(n, n) for _ in range(1, architecture.decoder_blocks[level])]
    return nn.Sequential(first, *rest)


class UNet(nn.Module):
    """Encoder and decoder.

    Attributes:
        dimensions: Spatial axes, 2 or 3.
        is_flat: Kernels of full resolution extend along two axes only.
        scales: Decoder levels whose logits are returned, from full resolution on; above 1 for deep supervision.
    """

    def __init__(self, architecture: Architecture, *, input_channels: int, output_channels: int) -> None:
        super().__init__()
        self.encoder = Encoder(architecture, input_channels)
        self.decoder = Decoder(architecture, output_channels)
        self.dimensions = architecture.dimensions
        self.is_flat = sum(size > 1 for size in architecture.kernels[0]) <= 2
        self.scales = 1

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits of a batch.

        Args:
            x: Images, (b, c, *spatial); each axis divisible by the product of its strides.

        Returns:
            Logits (b, outputs, *spatial); of several scales, a list of them, full resolution first.
        """
        logits: list[Tensor] = self.decoder(self.encoder(x), scales=self.scales)
        return logits[0] if self.scales == 1 else logits


def build_network(
    architecture: Architecture, *, input_channels: int, output_channels: int, seed: int = 0
) -> UNet:
    """A freshly initialised network on the CPU, in the memory layout convolutions are fastest in.

    Args:
        architecture: Stages, features, strides, kernels.
        input_channels: Channels of an image, those of a previous stage's labels included.
        output_channels: Classes with background, or regions.
        seed: Seed of the initial weights; torch's global generator is left alone.

    Returns:
        The network, which returns the logits of full resolution.
    """
    with torch.device("meta"):
        network = UNet(architecture, input_channels=input_channels, output_channels=output_channels)
    network.to_empty(device="cpu")
    initialise_(network, torch.Generator().manual_seed(seed))
    return arranged(network, "cpu")


def arranged(network: UNet, device: str, *, learns: bool = False) -> UNet:
    """The same network, moved to a device ("cpu", "cuda", "cuda:0") and to `memory_format`."""
    layout = memory_format(network, torch.device(device).type, learns=learns)
    network.to(device, memory_format=layout)  # type: ignore[call-overload]  # missing in torch's annotations
    return network


def memory_format(network: UNet, device_type: str, *, learns: bool) -> torch.memory_format:
    """The memory layout of images and weights with which a network computes fastest.

    On CPUs, channels last; but a network of flat kernels learns up to twice as fast without (docs/log.md).
    """
    if device_type != "cpu" or (learns and network.is_flat):
        return torch.contiguous_format
    return torch.channels_last if network.dimensions == 2 else torch.channels_last_3d
