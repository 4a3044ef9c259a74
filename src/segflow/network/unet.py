"""A plan's architecture as a torch module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segflow.contracts.plan import Architecture
from segflow.network.decoder import Decoder
from segflow.network.encoder import Encoder
from segflow.network.weights import initialise_

__all__ = ["UNet", "arranged", "build_network", "memory_format"]


class UNet(nn.Module):
    """Encoder and decoder.

    Attributes:
        dimensions: Spatial axes, 2 or 3.
        deep_supervision: Return the logits of every decoder level rather than of full resolution alone.

    Source: method.md section 11.
    """

    def __init__(self, architecture: Architecture, *, input_channels: int, output_channels: int) -> None:
        super().__init__()
        self.encoder = Encoder(architecture, input_channels)
        self.decoder = Decoder(architecture, output_channels)
        self.dimensions = architecture.dimensions
        self.deep_supervision = False

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits of a batch.

        Args:
            x: Images, (b, c, *spatial); each axis divisible by the product of its strides.

        Returns:
            Logits (b, outputs, *spatial); with deep supervision a list of them, full resolution first,
            one entry fewer than stages.

        Source: method.md section 11.
        """
        logits: list[Tensor] = self.decoder(self.encoder(x), all_levels=self.deep_supervision)
        return logits if self.deep_supervision else logits[0]


def build_network(
    architecture: Architecture, *, input_channels: int, output_channels: int, seed: int = 0
) -> UNet:
    """A freshly initialised network on the CPU, in the memory layout convolutions are fastest in.

    Args:
        architecture: Stages, features, strides, kernels.
        input_channels: Channels of an image, those of a previous stage's labels included.
        output_channels: Classes with background, or regions.
        seed: Of the initial weights; torch's global generator is left alone.

    Returns:
        The network, without deep supervision.

    Source: method.md section 11.
    """
    with torch.device("meta"):
        network = UNet(architecture, input_channels=input_channels, output_channels=output_channels)
    network.to_empty(device="cpu")
    initialise_(network, torch.Generator().manual_seed(seed))
    return arranged(network, "cpu")


def arranged(network: UNet, device: str) -> UNet:
    """The network, moved to a device and to the memory layout of that device.

    Args:
        network: Is moved itself; no copy is made.
        device: "cpu", "cuda" or "cuda:0".

    Returns:
        The same network.

    Source: ours.
    """
    layout = memory_format(network.dimensions, torch.device(device).type)
    network.to(device, memory_format=layout)  # type: ignore[call-overload]  # missing in torch's annotations
    return network


def memory_format(dimensions: int, device_type: str) -> torch.memory_format:
    """The memory layout of images and weights that a device convolves fastest.

    On CPUs, channels last: the backward pass of a narrow convolution is up to seven times as fast.

    Args:
        dimensions: Spatial axes, 2 or 3.
        device_type: "cpu" or "cuda".

    Source: ours.
    """
    if device_type != "cpu":
        return torch.contiguous_format
    return torch.channels_last if dimensions == 2 else torch.channels_last_3d
