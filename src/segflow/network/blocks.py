"""Building blocks of the U-Nets: convolution, normalisation, non-linearity. Source: method.md section 11."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CONVOLUTION", "LEAK", "TRANSPOSED", "ConvBlock", "ConvNorm", "InstanceNorm", "ResidualBlock"]

#: Slope of the leaky ReLU below zero.
LEAK: Final = 0.01
#: Added to the variance.
NORM_EPSILON: Final = 1e-5

#: By the number of spatial axes.
CONVOLUTION: Final[dict[int, Callable[..., nn.Conv2d | nn.Conv3d]]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: Final[dict[int, Callable[..., nn.ConvTranspose2d | nn.ConvTranspose3d]]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
AVERAGE_POOL: Final[dict[int, Callable[..., nn.AvgPool2d | nn.AvgPool3d]]] = {
    2: nn.AvgPool2d,
    3: nn.AvgPool3d,
}


class InstanceNorm(nn.GroupNorm):
    """Instance normalisation: group normalisation with one channel per group.

    On CPUs PyTorch's group normalisation is the same function, two to four times as fast as its instance
    normalisation. On GPUs autocast computes it in float32, and keeps its result so for the backward pass, which would
    need twice the memory that the plan was made for; instance normalisation stays in half precision.
    """

    def __init__(self, channels: int, *, affine: bool = True) -> None:
        super().__init__(channels, channels, eps=NORM_EPSILON, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (b, c, *spatial), normalised over the spatial axes."""
        if x.device.type == "cpu":
            return super().forward(x)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


class ConvNorm(nn.Module):
    """Convolution with "same" padding, then instance normalisation."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        kernel: Sequence[int],
        stride: Sequence[int],
        bias: bool = True,
        affine: bool = True,
    ) -> None:
        super().__init__()
        padding = tuple((k - 1) // 2 for k in kernel)
        convolution = CONVOLUTION[len(kernel)]
        self.conv = convolution(n_in, n_out, tuple(kernel), tuple(stride), padding, bias=bias)
        self.norm = InstanceNorm(n_out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (b, n_in, *spatial) to (b, n_out, *spatial / stride)."""
        normalised: Tensor = self.norm(self.conv(x))
        return normalised


class ConvBlock(ConvNorm):
    """Convolution, instance normalisation, leaky ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (b, n_in, *spatial) to (b, n_out, *spatial / stride)."""
        return F.leaky_relu_(super().forward(x), LEAK)


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut: y = leaky(norm(conv(leaky(norm(conv(x))))) + shortcut(x)).

    The D variant of a basic ResNet block: the shortcut is pooled, then convolved 1x1.
    """

    def __init__(
        self, n_in: int, n_out: int, *, kernel: Sequence[int], stride: Sequence[int], affine: bool = True
    ) -> None:
        super().__init__()
        ones = (1,) * len(kernel)
        self.conv1 = ConvBlock(n_in, n_out, kernel=kernel, stride=stride, affine=affine)
        self.conv2 = ConvNorm(n_out, n_out, kernel=kernel, stride=ones, affine=affine)
        pool = AVERAGE_POOL[len(kernel)](tuple(stride), tuple(stride)) if any(s > 1 for s in stride) else None
        self.pool = pool
        project = partial(ConvNorm, kernel=ones, stride=ones, bias=False, affine=affine)
        self.skip = project(n_in, n_out) if n_in != n_out else None

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (b, n_in, *spatial) to (b, n_out, *spatial / stride)."""
        shortcut = x if self.pool is None else self.pool(x)
        if self.skip is not None:
            shortcut = self.skip(shortcut)
        return F.leaky_relu_(self.conv2(self.conv1(x)) + shortcut, LEAK)
