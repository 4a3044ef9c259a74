"""plans.json: written for nnU-Net, and read from segflow, from nnU-Net of any release, or edited by hand.

`segflow.contracts.plan` has the keys. Here is the rest: what configurations inherit, the style before release 2.5, and
the refusal of what does not fit together or segflow does not have.

Source: method.md sections 6.4, 6.5, 6.9.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from segflow.contracts.codec import Contract
from segflow.contracts.errors import PlanError
from segflow.contracts.plan import (
    BLOCKS,
    CONFIGURATION_NAMES,
    NETWORKS,
    SAFE_NAME,
    Architecture,
    Axes,
    Configuration,
    Count,
    Counts,
    Plan,
)
from segflow.storage.files import read_json, write_json

__all__ = ["custom_configurations", "plan_from_json", "plan_to_json", "read_plan", "write_plan"]

_FULL, _CASCADE = "3d_fullres", "3d_cascade_fullres"
_INHERITS: Final = "inherits_from"


def write_plan(path: Path, plan: Plan, *, custom: dict[str, Any] | None = None) -> Plan:
    """Write plans.json so that nnU-Net can load it.

    Args:
        path: The file.
        plan: The plan.
        custom: Further configurations as the file holds them; see `custom_configurations`.

    Returns:
        The plan as it stands in the file.

    Raises:
        PlanError: A custom configuration cannot be understood; nothing is written.
    """
    data = plan_to_json(plan)
    data["configurations"] |= custom or {}
    understood = plan_from_json(data, where=str(path))
    write_json(path, data)
    return understood


def read_plan(path: Path) -> Plan:
    """Read plans.json; see `plan_from_json`.

    Raises:
        PlanError: The file is missing or cannot be understood.
    """
    return plan_from_json(read_json(path, error=PlanError), where=str(path))


def custom_configurations(path: Path) -> dict[str, Any]:
    """Configurations that somebody has added to a plans.json, as they stand there: what they inherit may change.

    Args:
        path: The file, which need not exist.

    Returns:
        Those of names that the planner never gives, in the order of the file.

    Raises:
        PlanError: There is a file, but it is no plan.
    """
    if not path.exists():
        return {}
    data = read_json(path, error=PlanError)
    found = data.get("configurations") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise PlanError(f"{path} exists and is not a plan; remove it, or name another output")
    return {name: entry for name, entry in found.items() if name not in CONFIGURATION_NAMES}


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The content of plans.json.

    Args:
        plan: The plan.

    Returns:
        Plain data. Every configuration is written in full, but a cascade inherits what it has from 3d_fullres.
    """
    data = _in_full(plan)
    entries = data["configurations"]
    own, parent = entries.get(_CASCADE, {}), entries.get(_FULL, {})
    if own and parent and parent.keys() <= own.keys():
        differs = {key: value for key, value in own.items() if key not in parent or parent[key] != value}
        entries[_CASCADE] = {_INHERITS: _FULL, **differs}
    return data


def plan_from_json(data: Any, *, where: str) -> Plan:
    """Understand a plan: ours, nnU-Net's, or one of either that somebody has edited.

    Args:
        data: The content of plans.json, in the style of release 2.5 or before.
        where: The file, for messages.

    Returns:
        The plan. Configurations stand for themselves: what they inherit has been filled in.

    Raises:
        PlanError: A key is missing, unknown or wrong; `inherits_from` leads nowhere or in a circle; a network does
            not fit together or its patch; or the plan asks for something segflow does not have.
    """
    raw = data.get("configurations") if isinstance(data, dict) else None
    if not isinstance(raw, dict):
        raise PlanError(f"{where}: not a plan this version understands; it must have 'configurations'")
    entries = {name: _entry(_inherited(name, raw, where), f"{where}: {name}") for name in raw}
    named = {name: {**entry, "name": name} for name, entry in entries.items()}
    plan = Plan.parse({**data, "configurations": named}, where=where, error=PlanError)
    _check(plan, where)
    faults = [*_differences(entries, _in_full(plan)["configurations"], "configurations")]
    if faults:
        raise PlanError(f"{where}: {'; '.join(faults)}")
    return plan


def _in_full(plan: Plan) -> dict[str, Any]:
    """The content of plans.json without inheritance."""
    data = plan.model_dump(mode="json", by_alias=True)
    for name, entry in data["configurations"].items():
        data["configurations"][name] = {
            key: value for key, value in entry.items() if key != "name" and value is not None
        }
    return data


def _inherited(name: str, raw: dict[str, Any], where: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """A configuration with its parents' keys; its own win."""
    if name not in raw:
        raise PlanError(f"{where}: configuration {seen[-1]} inherits from {name}, which does not exist")
    if name in seen:
        raise PlanError(f"{where}: configurations inherit in a circle: {' -> '.join((*seen, name))}")
    if not isinstance(raw[name], dict):
        raise PlanError(f"{where}: configuration {name} must be a JSON object")
    own = dict(raw[name])
    parent = own.pop(_INHERITS, None)
    return own if parent is None else {**_inherited(str(parent), raw, where, (*seen, name)), **own}


def _entry(entry: dict[str, Any], where: str) -> dict[str, Any]:
    """A configuration in the style of release 2.5, its stages a name rather than a list of one."""
    for key in ("previous_stage", "next_stage"):
        stages = entry.get(key)
        if isinstance(stages, list) and len(stages) < 2:
            entry = {**entry, key: stages[0] if stages else None}
    if "UNet_class_name" not in entry:
        return entry
    given = {key: entry[key] for key in _OldStyle.model_fields if key in entry}
    old = _OldStyle.parse(given, where=where, error=PlanError)
    rest = {key: value for key, value in entry.items() if key not in given}
    return {**rest, "architecture": old.architecture().model_dump(mode="json")}


class _OldStyle(Contract):
    """The network as releases before 2.5 describe it."""

    UNet_class_name: Literal["PlainConvUNet", "ResidualEncoderUNet"]
    UNet_base_num_features: Count
    unet_max_num_features: Count
    n_conv_per_stage_encoder: Counts
    n_conv_per_stage_decoder: Counts
    pool_op_kernel_sizes: Annotated[tuple[Axes, ...], Field(min_length=1)]
    conv_kernel_sizes: tuple[Axes, ...]
    num_pool_per_axis: Any = None  # the strides say the same

    def architecture(self) -> Architecture:
        features = [self.UNet_base_num_features * 2**stage for stage in range(len(self.pool_op_kernel_sizes))]
        encoder = next(name for name, network in NETWORKS.items() if network.endswith(self.UNet_class_name))
        return Architecture(
            encoder=encoder,
            features=tuple(min(self.unet_max_num_features, count) for count in features),
            strides=self.pool_op_kernel_sizes,
            kernels=self.conv_kernel_sizes,
            encoder_blocks=self.n_conv_per_stage_encoder,
            decoder_blocks=self.n_conv_per_stage_decoder,
        )


#: Without effect on the network.
_IGNORED: Final = frozenset({"_kw_requires_import", "dropout_op_kwargs"})


def _differences(given: Any, written: Any, path: str) -> Iterator[str]:
    """What of a file segflow would write otherwise, hence does not have. A missing key means null."""
    if not (isinstance(given, dict) and isinstance(written, dict)):
        if given != written:
            yield f"'{path}': segflow has {json.dumps(written)} only (found {given!r})"
        return
    for key in dict.fromkeys((*written, *given)):
        here = f"{path}.{key}"
        if key in _IGNORED or given.get(key) is written.get(key) is None:
            continue
        if key not in written:
            near = difflib.get_close_matches(key, written.keys(), n=1, cutoff=0.5)
            yield f"unknown key '{here}': {f'did you mean {near[0]!r}?' if near else 'remove it'}"
        elif key not in given:
            yield f"'{here}': Field required"
        else:
            yield from _differences(given[key], written[key], here)


def _check(plan: Plan, where: str) -> None:
    """Refuse what does not fit together."""
    forward, backward = plan.transpose_forward, plan.transpose_backward
    if sorted(forward) != [0, 1, 2] or [forward[axis] for axis in backward] != [0, 1, 2]:
        raise PlanError(f"{where}: transpose_forward and transpose_backward must undo each other")
    for name, configuration in plan.configurations.items():
        if not re.fullmatch(SAFE_NAME, name):
            raise PlanError(
                f"{where}: configuration {name!r}: a name must be of letters, digits, '_', '.' and '-', "
                "as files are named after it"
            )
        here = f"{where}: configuration {name}"
        _check_network(configuration, here)
        _check_patch(configuration, here)
        _check_channels(configuration, plan, here)
        _check_resampling(configuration, here)
        following = configuration.next_stage or ()
        following = (following,) if isinstance(following, str) else following
        for stage in (configuration.previous_stage, *following):
            if stage is not None and stage not in plan.configurations:
                raise PlanError(f"{here}: its stage {stage} is not a configuration of this plan")


def _check_channels(configuration: Configuration, plan: Plan, where: str) -> None:
    channels = {str(channel) for channel in range(len(configuration.normalization))}
    if len(configuration.mask_normalization) != len(channels):
        raise PlanError(
            f"{where}: normalization_schemes and use_mask_for_norm must have an entry per channel"
        )
    if plan.intensities.keys() != channels:
        raise PlanError(
            f"{where}: normalization_schemes has {len(channels)} entries, but "
            f"foreground_intensity_properties_per_channel has {len(plan.intensities)} channels"
        )


def _check_resampling(configuration: Configuration, where: str) -> None:
    default = Configuration.model_fields
    for key in (f"resampling_fn_{kind}_kwargs" for kind in ("data", "seg", "probabilities")):
        found, only = getattr(configuration, key).model_dump_json(), default[key].default.model_dump_json()
        if found != only:
            raise PlanError(f"{where}: '{key}': segflow has {only} only (found {found})")


def _check_network(configuration: Configuration, where: str) -> None:
    """The stages of the network, and their axes, must go together."""
    network, axes = configuration.architecture, configuration.dimensions
    stages = len(network.strides)
    per_stage = {
        "features_per_stage": network.features,
        "kernel_sizes": network.kernels,
        BLOCKS[network.encoder]: network.encoder_blocks,
    }
    _check_lengths(per_stage, stages, f"strides has {stages}", where)
    decoder = {"n_conv_per_stage_decoder": network.decoder_blocks}
    _check_lengths(decoder, stages - 1, f"it must have one fewer than strides, which has {stages}", where)
    per_axis: dict[str, Sequence[Any]] = {
        "spacing": configuration.spacing_mm,
        "median_image_size_in_voxels": configuration.median_shape,
        **{f"stage {i} of strides": stride for i, stride in enumerate(network.strides)},
        **{f"stage {i} of kernel_sizes": kernel for i, kernel in enumerate(network.kernels)},
    }
    _check_lengths(per_axis, axes, f"patch_size has {axes}", where)
    if any(step != 1 for step in network.strides[0]):
        raise PlanError(
            f"{where}: the first of strides must be 1 along every axis, as segflow's networks have it"
        )
    if any(edge % 2 == 0 for kernel in network.kernels for edge in kernel):
        raise PlanError(f"{where}: kernel_sizes must be odd, or the feature maps of a stage would not match")


def _check_lengths(lists: Mapping[str, Sequence[Any]], expected: int, because: str, where: str) -> None:
    for key, entries in lists.items():
        if len(entries) != expected:
            raise PlanError(f"{where}: {key} has {len(entries)} entries, but {because}")


def _check_patch(configuration: Configuration, where: str) -> None:
    for axis, edge in enumerate(configuration.patch_shape):
        divisor = math.prod(stride[axis] for stride in configuration.architecture.strides)
        if edge % divisor:
            below = edge // divisor * divisor
            nearest = f"{below} and {below + divisor}" if below else f"{divisor}"
            raise PlanError(
                f"{where}: patch_size {edge} of axis {axis} is not divisible by {divisor}, the product of its "
                f"strides; the nearest sizes are {nearest}"
            )
