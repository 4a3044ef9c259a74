"""nnU-Net's names for the tensors of a U-Net.

nnU-Net lists most tensors more than once: the convolution and the norm of a block again among "all_modules", and the
whole encoder again below the decoder. Where segflow has one tensor, all of these names are written, and must agree
when they are read.

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
#: A convolution with its norm, and their places among "all_modules".
_PLACES: Final = {"conv": 0, "norm": 1}

_PLAIN = re.compile(r"(encoder\.stages\.\d+)\.(\d+)\.(conv|norm)\.(\w+)")
_DECODER = re.compile(r"(decoder\.stages\.\d+)\.(\d+)\.(conv|norm)\.(\w+)")
_STEM = re.compile(r"(encoder\.stem)\.(conv|norm)\.(\w+)")
_RESIDUAL = re.compile(r"encoder\.stages\.(\d+)\.(\d+)\.(conv1|conv2|skip)\.(conv|norm)\.(\w+)")

#: From nnU-Net's name without its duplicates to segflow's.
_TRANSLATIONS: Final = (
    (re.compile(r"(encoder\.stages\.\d+)\.0\.convs\.(\d+)\.(.+)"), r"\1.\2.\3"),
    (re.compile(r"(encoder\.stem)\.convs\.0\.(.+)"), r"\1.\2"),
    (re.compile(r"(encoder\.stages\.\d+)\.blocks\.(\d+)\.(conv1|conv2)\.(.+)"), r"\1.\2.\3.\4"),
    (re.compile(r"(encoder\.stages\.\d+)\.blocks\.(\d+)\.skip\.[01]\.(.+)"), r"\1.\2.skip.\3"),
    (re.compile(r"(decoder\.stages\.\d+)\.convs\.(\d+)\.(.+)"), r"\1.\2.\3"),
    (re.compile(r"(decoder\.(?:transpconvs|seg_layers)\.\d+\.\w+)"), r"\1"),
)


def nnunet_names(names: Iterable[str], architecture: Architecture) -> dict[str, tuple[str, ...]]:
    """Name of a tensor to all that nnU-Net has for it, the plain one first.

    Args:
        names: Of segflow's network.
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
    if match := _RESIDUAL.fullmatch(name):
        stage, block, part, kind, leaf = match.groups()
        place = f"skip.{_pooled(architecture, int(stage), int(block))}" if part == "skip" else part
        return _in_encoder(f"encoder.stages.{stage}.blocks.{block}.{place}", kind, leaf)
    if match := _PLAIN.fullmatch(name):
        stage, block, kind, leaf = match.groups()
        return _in_encoder(f"{stage}.0.convs.{block}", kind, leaf)
    if match := _STEM.fullmatch(name):
        stem, kind, leaf = match.groups()
        return _in_encoder(f"{stem}.convs.0", kind, leaf)
    if match := _DECODER.fullmatch(name):
        stage, block, kind, leaf = match.groups()
        return _twice(f"{stage}.convs.{block}", kind, leaf)
    return (name,)


def _pooled(architecture: Architecture, stage: int, block: int) -> int:
    """Place of a shortcut's convolution: behind the pooling, where there is one."""
    return int(block == 0 and any(step > 1 for step in architecture.strides[stage]))


def _in_encoder(block: str, kind: str, leaf: str) -> tuple[str, ...]:
    names = _twice(block, kind, leaf)
    return (*names, *(f"decoder.{name}" for name in names))


def _twice(block: str, kind: str, leaf: str) -> tuple[str, ...]:
    return f"{block}.{kind}.{leaf}", f"{block}.all_modules.{_PLACES[kind]}.{leaf}"


def _segflow_name(theirs: str) -> str | None:
    name = theirs
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    name = name.removeprefix("decoder.") if name.startswith("decoder.encoder.") else name
    for kind, place in _PLACES.items():
        name = name.replace(f".all_modules.{place}.", f".{kind}.")
    for pattern, ours in _TRANSLATIONS:
        if pattern.fullmatch(name):
            return pattern.sub(ours, name)
    return None
