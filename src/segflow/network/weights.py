"""The weights that a network starts with: random ones, or those of another network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

from segflow.contracts.arrays import lengths_text
from segflow.contracts.errors import TrainingError
from segflow.network.blocks import LEAK, ResidualBlock

__all__ = ["adapted_stem", "check_finite", "check_weights", "initialise_", "listed", "load_weights_"]


def initialise_(network: nn.Module, generator: torch.Generator) -> None:
    """Overwrite all parameters with their initial values.

    Kaiming-normal convolutions with zero bias; the affine part of a normalisation, if it has one, is the identity,
    except that of a residual block's last one, which is zero so that the block starts as its shortcut.

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
        elif isinstance(module, nn.GroupNorm) and module.affine:
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, ResidualBlock) and module.conv2.norm.affine:
            nn.init.zeros_(module.conv2.norm.weight)
            nn.init.zeros_(module.conv2.norm.bias)


#: Layers that depend on the classes. Source: method.md section 24.
_HEAD: Final = "decoder.seg_layers."
#: The convolution that sees the image, of a residual encoder and of a plain one.
_STEMS: Final = ("encoder.stem.conv.weight", "encoder.stages.0.0.conv.weight")


def adapted_stem(network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights for a network of another number of input channels.

    Every channel gets the same share of the sum over the channels there, so that an image whose channels are equal
    gives the same feature maps.

    Args:
        network: The network that is to get the weights.
        weights: Of a network that sees other channels; of any other one they are returned as they are.
    """
    own, found = network.state_dict(), dict(weights)
    stem = next(name for name in _STEMS if name in own)
    if stem in found and found[stem].shape != own[stem].shape:
        summed, channels = found[stem].sum(dim=1, keepdim=True), own[stem].shape[1]
        found[stem] = (summed / channels).repeat_interleave(channels, dim=1)
    return found


def load_weights_(
    network: nn.Module, weights: Mapping[str, Tensor], *, where: str, heads: bool = True
) -> None:
    """Load the weights of another network: all tensors fit, or nothing is changed.

    Args:
        network: The network to change.
        weights: In our names.
        where: Their file, for messages.
        heads: Load those of the segmentation heads too, which depend on the classes; without, the heads stay.

    Raises:
        TrainingError: A tensor is missing, of another shape, not finite, or not of this network; all are listed.

    Source: method.md section 24.
    """
    own = check_weights(network, weights, where=where, heads=heads)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name])


def check_weights(
    network: nn.Module, weights: Mapping[str, Tensor], *, where: str, heads: bool = True
) -> dict[str, Tensor]:
    """The network's tensors, which may be on the device "meta", if the weights of another one fit; else an error.

    Arguments and errors are those of `load_weights_`.
    """
    without = () if heads else (_HEAD,)
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(without)}
    given = {name: tensor for name, tensor in weights.items() if not name.startswith(without)}
    faults = _differences(own, given)
    if faults:
        raise TrainingError(
            f"the weights of {where} are those of another network ({len(faults)} tensors do not fit); they can be "
            f"used with the plan that they were trained with:\n{listed(faults)}"
        )
    check_finite(given, where=where)
    return own


def check_finite(weights: Mapping[str, Tensor], *, where: str) -> None:
    """Refuse weights that are not numbers, with which everything would be background.

    Raises:
        TrainingError: Some are NaN or infinite.
    """
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise TrainingError(
            f"the weights of {where} are NaN or infinite ({broken[0]}): the training has failed, or the file "
            "is damaged; train again, or copy it again"
        )


def listed(faults: Iterable[str]) -> str:
    """One indented line for each."""
    return "\n".join(f"  {fault}" for fault in faults)


def _differences(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    faults = []
    for name, tensor in own.items():
        if name not in given:
            faults.append(f"{name}: {lengths_text(tensor.shape)} here, missing there")
        elif given[name].shape != tensor.shape:
            faults.append(
                f"{name}: {lengths_text(tensor.shape)} here, {lengths_text(given[name].shape)} there"
            )
    faults += [
        f"{name}: missing here, {lengths_text(given[name].shape)} there" for name in given if name not in own
    ]
    return faults
