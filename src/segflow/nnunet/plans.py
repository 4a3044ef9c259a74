"""nnU-Net's plans.json: written by segflow, and read from segflow, nnU-Net of any release, or an editor.

`segflow.contracts.plan` defines the keys. This module adds what a single model cannot express: configurations that
inherit from others, the format before release 2.5, and the refusal of plans that contradict themselves or ask for
something that segflow does not have.

Source: method.md sections 6.4, 6.5, 6.9.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from segflow.contracts.codec import Contract, Count
from segflow.contracts.errors import PlanError
from segflow.contracts.plan import (
    BLOCKS,
    CONFIGURATION_NAMES,
    Architecture,
    Axes,
    Configuration,
    Counts,
    Plan,
)
from segflow.storage.files import read_json, write_json

__all__ = ["custom_configurations", "plan_from_json", "plan_to_json", "read_plan", "write_plan"]

_FULL, _CASCADE = "3d_fullres", "3d_cascade_fullres"
_INHERITS: Final = "inherits_from"
#: The function with which nnU-Net, too, resamples.
_FUNCTION: Final = "resample_data_or_seg_to_shape"
#: Fields of a configuration that are written as arguments of that function.
_AS_ARGUMENTS: Final = ("label_interpolation", "separate_z")
#: Keys without effect on the network.
_IGNORED: Final = frozenset({"_kw_requires_import", "dropout_op_kwargs"})


def write_plan(path: Path, plan: Plan, *, custom: dict[str, Any] | None = None) -> Plan:
    """Write plans.json so that nnU-Net can load it.

    Args:
        path: The file.
        plan: The plan.
        custom: Further entries of "configurations"; see `custom_configurations`.

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
    """Entries of "configurations" that somebody has added to a plans.json, with `inherits_from` as it stands there.

    Args:
        path: The file, which need not exist.

    Returns:
        The entries under names that the planner never gives, in the order of the file.

    Raises:
        PlanError: The file exists, but is not a plan.
    """
    if not path.exists():
        return {}
    data = read_json(path, error=PlanError)
    found = data.get("configurations") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise PlanError(f"{path} exists and is not a plan; remove it, or name another output")
    return {name: entry for name, entry in found.items() if name not in CONFIGURATION_NAMES}


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The content of plans.json, in which the cascade inherits from 3d_fullres, as nnU-Net writes it."""
    data = _in_full(plan)
    entries = data["configurations"]
    own, parent = entries.get(_CASCADE, {}), entries.get(_FULL, {})
    if own and parent and parent.keys() <= own.keys():
        differs = {key: value for key, value in own.items() if key not in parent or parent[key] != value}
        entries[_CASCADE] = {_INHERITS: _FULL, **differs}
    return data


def plan_from_json(data: Any, *, where: str) -> Plan:
    """Understand the content of plans.json.

    Args:
        data: The content.
        where: The file, for messages.

    Returns:
        The plan; what configurations inherit is filled in.

    Raises:
        PlanError: A key is missing, unknown or wrong; `inherits_from` leads nowhere or in a circle; a network does
            not fit together or its patch; or the plan asks for something segflow does not have.
    """
    raw = data.get("configurations") if isinstance(data, dict) else None
    if not isinstance(raw, dict):
        raise PlanError(f"{where}: not a plan this version understands; it must have 'configurations'")
    entries = {name: _entry(_inherited(name, raw, where), f"{where}: {name}") for name in raw}
    named = {name: {**_without_resampling(entry), "name": name} for name, entry in entries.items()}
    plan = Plan.parse({**data, "configurations": named}, where=where, error=PlanError)
    _check(plan, where)
    faults = [*_differences(entries, _in_full(plan)["configurations"], "configurations")]
    if faults:
        raise PlanError(f"{where}: {'; '.join(faults)}")
    return plan


def _in_full(plan: Plan) -> dict[str, Any]:
    """The content of plans.json without inheritance, keys in nnU-Net's order."""
    data = plan.model_dump(mode="json", by_alias=True)
    for name, entry in data["configurations"].items():
        hidden = ("name", *_AS_ARGUMENTS)
        keys = [key for key, value in entry.items() if key not in hidden and value is not None]
        at = keys.index("architecture")
        resampling = _resampling(plan.configurations[name])
        given = entry | resampling
        data["configurations"][name] = {key: given[key] for key in [*keys[:at], *resampling, *keys[at:]]}
    return data


def _resampling(configuration: Configuration) -> dict[str, Any]:
    """nnU-Net's description of how images, labels and scores are resampled."""
    orders = {"data": 3, "seg": int(configuration.label_interpolation == "linear"), "probabilities": 1}
    separate_z = None if configuration.separate_z else False  # None: if the image is anisotropic
    found: dict[str, Any] = {}
    for name, order in orders.items():
        arguments = {
            "is_seg": name == "seg",
            "order": order,
            "order_z": 0,
            "force_separate_z": separate_z,
        }
        found |= {f"resampling_fn_{name}": _FUNCTION, f"resampling_fn_{name}_kwargs": arguments}
    return found


def _without_resampling(entry: dict[str, Any]) -> dict[str, Any]:
    """A configuration with fields in place of the arguments for resampling; `_differences` checks all of these."""
    found = {key: value for key, value in entry.items() if not key.startswith("resampling_fn_")}
    images, labels = (entry.get(f"resampling_fn_{name}_kwargs") for name in ("data", "seg"))
    if isinstance(labels, dict) and labels.get("order") == 0:
        found["label_interpolation"] = "nearest"
    if isinstance(images, dict) and images.get("force_separate_z") is False:
        found["separate_z"] = False
    return found


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
    """A configuration in the format of release 2.5, its stages a name rather than a list of one."""
    for key in ("previous_stage", "next_stage"):
        stages = entry.get(key)
        if isinstance(stages, list) and len(stages) < 2:
            entry = {**entry, key: stages[0] if stages else None}
    if "UNet_class_name" not in entry:
        return entry
    given = {key: entry[key] for key in _OldFormat.model_fields if key in entry}
    old = _OldFormat.parse(given, where=where, error=PlanError)
    rest = {key: value for key, value in entry.items() if key not in given}
    return {**rest, "architecture": old.architecture().model_dump(mode="json")}


class _OldFormat(Contract):
    """The network as releases before 2.5 describe it."""

    UNet_class_name: Literal["PlainConvUNet", "ResidualEncoderUNet"]
    UNet_base_num_features: Count
    unet_max_num_features: Count
    n_conv_per_stage_encoder: Counts
    n_conv_per_stage_decoder: Counts
    pool_op_kernel_sizes: Annotated[tuple[Axes, ...], Field(min_length=1)]
    conv_kernel_sizes: tuple[Axes, ...]
    num_pool_per_axis: Any = None  # follows from the strides

    def architecture(self) -> Architecture:
        features = [self.UNet_base_num_features * 2**stage for stage in range(len(self.pool_op_kernel_sizes))]
        return Architecture(
            encoder="plain" if self.UNet_class_name == "PlainConvUNet" else "residual",
            features=tuple(min(self.unet_max_num_features, count) for count in features),
            strides=self.pool_op_kernel_sizes,
            kernels=self.conv_kernel_sizes,
            encoder_blocks=self.n_conv_per_stage_encoder,
            decoder_blocks=self.n_conv_per_stage_decoder,
        )


def _differences(given: Any, written: Any, path: str) -> Iterator[str]:
    """Where a file differs from what segflow would write: what segflow does not have. A missing key means null."""
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
    axes = [0, 1, 2]
    if sorted(forward) != axes or sorted(backward) != axes or [forward[axis] for axis in backward] != axes:
        raise PlanError(f"{where}: transpose_forward and transpose_backward must undo each other")
    for name, configuration in plan.configurations.items():
        here = f"{where}: configuration {name}"
        _check_lengths(configuration, plan, here)
        _check_network(configuration, here)
        following = configuration.next_stage or ()
        following = (following,) if isinstance(following, str) else following
        for stage in (configuration.previous_stage, *following):
            if stage is not None and stage not in plan.configurations:
                raise PlanError(f"{here}: its stage {stage} is not a configuration of this plan")


def _check_lengths(configuration: Configuration, plan: Plan, where: str) -> None:
    """Lists must have an entry per stage, axis or channel."""
    network = configuration.architecture
    stages, axes = len(network.strides), configuration.dimensions
    channels = len(configuration.normalization)
    per_stage, per_axis = f"strides has {stages}", f"patch_size has {axes}"
    per_channel = f"normalization_schemes has {channels}"
    expected: list[tuple[str, Sequence[Any], int, str]] = [
        ("features_per_stage", network.features, stages, per_stage),
        ("kernel_sizes", network.kernels, stages, per_stage),
        (BLOCKS[network.encoder], network.encoder_blocks, stages, per_stage),
        ("n_conv_per_stage_decoder", network.decoder_blocks, stages - 1, f"{per_stage}: it needs one fewer"),
        ("spacing", configuration.spacing_mm, axes, per_axis),
        ("median_image_size_in_voxels", configuration.median_shape, axes, per_axis),
        *((f"stage {i} of strides", stride, axes, per_axis) for i, stride in enumerate(network.strides)),
        *((f"stage {i} of kernel_sizes", kernel, axes, per_axis) for i, kernel in enumerate(network.kernels)),
        ("use_mask_for_norm", configuration.mask_normalization, channels, per_channel),
    ]
    for key, entries, length, because in expected:
        if len(entries) != length:
            raise PlanError(f"{where}: {key} has {len(entries)} entries, but {because}")
    if plan.intensities.keys() != {str(channel) for channel in range(channels)}:
        raise PlanError(
            f"{where}: normalization_schemes has {channels} entries, but "
            f"foreground_intensity_properties_per_channel has {len(plan.intensities)} channels"
        )


def _check_network(configuration: Configuration, where: str) -> None:
    """Feature maps must match after each stage, and the patch must be divisible by the strides."""
    network = configuration.architecture
    if len(network.strides) < 2:
        raise PlanError(f"{where}: strides has a single stage; a U-Net needs at least two")
    if any(step != 1 for step in network.strides[0]):
        raise PlanError(
            f"{where}: the first of strides must be 1 along every axis, as segflow's networks have it"
        )
    if any(edge % 2 == 0 for kernel in network.kernels for edge in kernel):
        raise PlanError(f"{where}: kernel_sizes must be odd, or the feature maps of a stage would not match")
    for axis, edge in enumerate(configuration.patch_shape):
        divisor = math.prod(stride[axis] for stride in network.strides)
        if edge % divisor:
            below = edge // divisor * divisor
            nearest = f"{below} and {below + divisor}" if below else f"{divisor}"
            raise PlanError(
                f"{where}: patch_size {edge} of axis {axis} is not divisible by {divisor}, the product of its "
                f"strides; the nearest sizes are {nearest}"
            )
