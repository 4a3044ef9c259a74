"""nnU-Net's names for the tensors of a U-Net.

nnU-Net lists most tensors several times: the convolution and the norm of a block again in "all_modules", and the whole
encoder again below the decoder. segflow has each tensor once; it is written under all of these names, and they must
agree when they are read.

Source: method.md section 11.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import torch
from torch import Tensor

from segflow.contracts.errors import TrainingError
from segflow.contracts.plan import Architecture
from segflow.network.weights import listed

__all__ = ["from_nnunet", "nnunet_names", "to_nnunet"]

#: What releases of nnU-Net, and torch.compile, put in front of all names.
_WRAPPERS: Final = ("module.", "_orig_mod.")
#: A block has a convolution and its norm, here with their indices in "all_modules".
_INDICES: Final = {"conv": 0, "norm": 1}

#: segflow's names of blocks, and nnU-Net's.
_TO_NNUNET: Final = (
    (r"encoder\.stem", r"encoder.stem.convs.0"),
    (r"encoder\.stages\.(\d+)\.(\d+)", r"encoder.stages.\1.0.convs.\2"),
    (r"encoder\.stages\.(\d+)\.(\d+)\.(conv1|conv2)", r"encoder.stages.\1.blocks.\2.\3"),
    (r"decoder\.stages\.(\d+)\.(\d+)", r"decoder.stages.\1.convs.\2"),
)
_SKIP = re.compile(r"encoder\.stages\.(\d+)\.(\d+)\.skip")
#: nnU-Net's names of tensors without their duplicates, and segflow's.
_FROM_NNUNET: Final = (
    (r"(encoder\.stages\.\d+)\.0\.convs\.(\d+)\.(.+)", r"\1.\2.\3"),
    (r"(encoder\.stem)\.convs\.0\.(.+)", r"\1.\2"),
    (r"(encoder\.stages\.\d+)\.blocks\.(\d+)\.(conv1|conv2)\.(.+)", r"\1.\2.\3.\4"),
    (r"(encoder\.stages\.\d+)\.blocks\.(\d+)\.skip\.[01]\.(.+)", r"\1.\2.skip.\3"),
    (r"(decoder\.stages\.\d+)\.convs\.(\d+)\.(.+)", r"\1.\2.\3"),
    (r"(decoder\.(?:transpconvs|seg_layers)\.\d+\.\w+)", r"\1"),
)


def nnunet_names(names: Iterable[str], architecture: Architecture) -> dict[str, tuple[str, ...]]:
    """Each of segflow's tensor names with all names that nnU-Net has for the tensor.

    Args:
        names: Of the tensors of a network.
        architecture: Of the network; nnU-Net's name of a shortcut depends on its stride.
    """
    return {name: _names(name, architecture) for name in names}


def to_nnunet(weights: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """A network's state under all of nnU-Net's names; duplicates are the same tensor."""
    found: dict[str, Tensor] = {}
    for name, theirs in nnunet_names(weights, architecture).items():
        found |= dict.fromkeys(theirs, weights[name].detach().contiguous())
    return found


def from_nnunet(state: Mapping[str, Tensor], *, where: str) -> dict[str, Tensor]:
    """A network's state under segflow's names.

    Args:
        state: Of nnU-Net's network.
        where: The file, for messages.

    Raises:
        TrainingError: Names that no network of segflow has, or duplicates that differ; all are listed.
    """
    found: dict[str, Tensor] = {}
    faults = []
    for theirs, tensor in state.items():
        name = _segflow_name(theirs)
        if name is None:
            faults.append(f"{theirs}: segflow's networks have no such tensor")
        elif name in found and not torch.equal(found[name], tensor):
            faults.append(f"{theirs}: differs from the same tensor under another name")
        else:
            found.setdefault(name, tensor)
    if faults:
        raise TrainingError(f"{where} cannot be understood:\n{listed(faults)}")
    return found


def _names(name: str, architecture: Architecture) -> tuple[str, ...]:
    block, kind, leaf = name.rsplit(".", 2)
    if kind not in _INDICES:
        return (name,)
    theirs = _block(block, architecture)
    names = [f"{theirs}.{kind}.{leaf}", f"{theirs}.all_modules.{_INDICES[kind]}.{leaf}"]
    return (*names, *(f"decoder.{twice}" for twice in names if twice.startswith("encoder.")))


def _block(name: str, architecture: Architecture) -> str:
    if match := _SKIP.fullmatch(name):
        stage, block = map(int, match.groups())
        is_pooled = (
            block == 0 and max(architecture.strides[stage]) > 1
        )  # nnU-Net then pools before it convolves
        return f"encoder.stages.{stage}.blocks.{block}.skip.{int(is_pooled)}"
    return next(
        re.sub(pattern, theirs, name) for pattern, theirs in _TO_NNUNET if re.fullmatch(pattern, name)
    )


def _segflow_name(theirs: str) -> str | None:
    name = theirs
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    if name.startswith("decoder.encoder."):
        name = name.removeprefix("decoder.")
    for kind, index in _INDICES.items():
        name = name.replace(f".all_modules.{index}.", f".{kind}.")
    return next((re.sub(old, new, name) for old, new in _FROM_NNUNET if re.fullmatch(old, name)), None)
