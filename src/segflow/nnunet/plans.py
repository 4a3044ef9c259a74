"""plans.json as a file. Source: method.md section 6.9.

The peer's plans.json, understood: every key is known, and what segflow does not have is refused.
Plans of the peer before release 2.5, which describe the network by other keys. Source: method.md section 6.9.
A plan as the peer writes it. Source: method.md section 6.9.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from segflow.contracts.codec import Contract
from segflow.contracts.errors import PlanError
from segflow.contracts.fingerprint import IntensityProperties
from segflow.contracts.plan import CONFIGURATION_NAMES, SAFE_NAME, Architecture, Configuration, Plan
from segflow.nnunet.configuration import (
    NETWORKS,
    PREPROCESSORS,
    RESAMPLING,
    RESAMPLING_ARGUMENTS,
    SCHEMES,
    PeerConfiguration,
    check_configuration,
    network_entry,
    only,
    to_configuration,
)
from segflow.storage.files import read_json, write_json

__all__ = [
    "custom_configurations",
    "plan_from_json",
    "plan_to_json",
    "read_plan",
    "upgraded",
    "write_plan",
]


class _PeerPlan(Contract):
    """plans.json, its configurations resolved and in the style of release 2.5."""

    dataset_name: str
    plans_name: str
    original_median_spacing_after_transp: tuple[float, float, float]
    original_median_shape_after_transp: tuple[int, int, int]
    image_reader_writer: str
    transpose_forward: tuple[int, int, int]
    transpose_backward: tuple[int, int, int]
    configurations: Annotated[dict[str, PeerConfiguration], Field(min_length=1)]
    experiment_planner_used: str
    label_manager: Annotated[str, only("LabelManager")]
    foreground_intensity_properties_per_channel: dict[str, IntensityProperties]


def plan_from_json(data: Any, *, where: str) -> Plan:
    """Understand a plan: ours, the peer's, or one of either that somebody has edited.

    Args:
        data: The content of plans.json, in the style of release 2.5 or before.
        where: The file, for messages.

    Returns:
        The plan. Configurations stand for themselves: what they inherit has been filled in.

    Raises:
        PlanError: A key is missing, unknown or wrong; `inherits_from` leads nowhere or in a circle; a network does
            not fit together or its patch; or the plan asks for something segflow does not have.

    Source: method.md section 6.9.
    """
    raw = data.get("configurations") if isinstance(data, dict) else None
    if not isinstance(raw, dict):
        raise PlanError(f"{where}: not a plan this version understands; it must have 'configurations'")
    resolved = {name: upgraded(_inherited(name, raw, where), f"{where}: {name}") for name in raw}
    found = _PeerPlan.parse({**data, "configurations": resolved}, where=where, error=PlanError)
    _check(found, where)
    plan = {
        "dataset_name": found.dataset_name,
        "plans_name": found.plans_name,
        "planner": found.experiment_planner_used,
        "image_reader_writer": found.image_reader_writer,
        "median_spacing_mm": found.original_median_spacing_after_transp,
        "median_shape": found.original_median_shape_after_transp,
        "transpose_forward": found.transpose_forward,
        "transpose_backward": found.transpose_backward,
        "intensities": found.foreground_intensity_properties_per_channel,
        "configurations": {name: to_configuration(name, c) for name, c in found.configurations.items()},
    }
    return Plan.parse(plan, where=where, error=PlanError)


def _inherited(name: str, raw: dict[str, Any], where: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """A configuration with its parents' keys; its own win."""
    if name not in raw:
        raise PlanError(f"{where}: configuration {seen[-1]} inherits from {name}, which does not exist")
    if name in seen:
        raise PlanError(f"{where}: configurations inherit in a circle: {' -> '.join((*seen, name))}")
    if not isinstance(raw[name], dict):
        raise PlanError(f"{where}: configuration {name} must be a JSON object")
    own = dict(raw[name])
    parent = own.pop("inherits_from", None)
    return own if parent is None else {**_inherited(str(parent), raw, where, (*seen, name)), **own}


def _check(plan: _PeerPlan, where: str) -> None:
    """What keys must be to each other."""
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
        check_configuration(configuration, here)
        _check_channels(configuration, plan.foreground_intensity_properties_per_channel, here)
        for stage in (*configuration.previous_stage, *configuration.next_stage):
            if stage not in plan.configurations:
                raise PlanError(f"{here}: its stage {stage} is not a configuration of this plan")


def _check_channels(
    configuration: PeerConfiguration, intensities: dict[str, IntensityProperties], here: str
) -> None:
    channels = {str(channel) for channel in range(len(configuration.normalization_schemes))}
    if len(configuration.use_mask_for_norm) != len(channels):
        raise PlanError(f"{here}: normalization_schemes and use_mask_for_norm must have an entry per channel")
    if intensities.keys() != channels:
        raise PlanError(
            f"{here}: normalization_schemes has {len(channels)} entries, but "
            f"foreground_intensity_properties_per_channel has {len(intensities)} channels"
        )


_ENCODERS = {network.rpartition(".")[2]: encoder for encoder, network in NETWORKS.items()}
#: The pools are told twice; the network is built from the strides.
_KEYS = (
    "UNet_class_name",
    "UNet_base_num_features",
    "unet_max_num_features",
    "n_conv_per_stage_encoder",
    "n_conv_per_stage_decoder",
    "pool_op_kernel_sizes",
    "conv_kernel_sizes",
)
_REDUNDANT = "num_pool_per_axis"


def upgraded(entry: dict[str, Any], where: str) -> dict[str, Any]:
    """A configuration in the style of release 2.5.

    Args:
        entry: A configuration in either style, with all that it inherits.
        where: File and name, for messages.

    Returns:
        The same with a key "architecture" in place of those of the old style.

    Raises:
        PlanError: A key of the old style is missing or wrong, or names another network.

    Source: method.md sections 6.5, 6.9.
    """
    if "UNet_class_name" not in entry:
        return entry
    missing = [key for key in _KEYS if key not in entry]
    if missing:
        raise PlanError(f"{where} lacks '{missing[0]}'")
    if entry["UNet_class_name"] not in _ENCODERS:
        raise PlanError(
            f"{where}: 'UNet_class_name' is {entry['UNet_class_name']!r}; segflow has {' and '.join(_ENCODERS)} only"
        )
    try:
        architecture = _architecture(entry)
    except (TypeError, ValueError, IndexError) as problem:
        raise PlanError(f"{where}: {', '.join(_KEYS[1:])} do not describe a network: {problem}") from None
    rest = {key: value for key, value in entry.items() if key not in (*_KEYS, _REDUNDANT)}
    return {**rest, "architecture": architecture}


def _architecture(entry: dict[str, Any]) -> dict[str, Any]:
    strides = entry["pool_op_kernel_sizes"]
    base, most = int(entry["UNet_base_num_features"]), int(entry["unet_max_num_features"])
    return network_entry(
        _ENCODERS[entry["UNet_class_name"]],
        features=[min(most, base * 2**stage) for stage in range(len(strides))],
        strides=strides,
        kernels=entry["conv_kernel_sizes"],
        blocks=(entry["n_conv_per_stage_encoder"], entry["n_conv_per_stage_decoder"]),
    )


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """A plan as the peer writes it, so that the peer can load it.

    Args:
        plan: The plan.

    Returns:
        Plain data. Every configuration is written in full, but a cascade inherits what it has from 3d_fullres.

    Source: method.md section 6.9.
    """
    configurations = {name: _configuration(c) for name, c in plan.configurations.items()}
    full = configurations.get("3d_fullres", {})
    return {
        "dataset_name": plan.dataset_name,
        "plans_name": plan.plans_name,
        "original_median_spacing_after_transp": list(plan.median_spacing_mm),
        "original_median_shape_after_transp": list(plan.median_shape),
        "image_reader_writer": plan.image_reader_writer,
        "transpose_forward": list(plan.transpose_forward),
        "transpose_backward": list(plan.transpose_backward),
        "configurations": {
            name: _inheriting(written, full) if name == "3d_cascade_fullres" else written
            for name, written in configurations.items()
        },
        "experiment_planner_used": plan.planner,
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            channel: properties.model_dump() for channel, properties in plan.intensities.items()
        },
    }


def _inheriting(own: dict[str, Any], parent: dict[str, Any]) -> dict[str, Any]:
    """What a configuration has that its parent has not; in full if it lacks something of the parent's."""
    if not parent or not parent.keys() <= own.keys():
        return own
    differs = {key: value for key, value in own.items() if key not in parent or parent[key] != value}
    return {"inherits_from": "3d_fullres", **differs}


def _configuration(configuration: Configuration) -> dict[str, Any]:
    stages = {"previous_stage": configuration.previous_stage, "next_stage": configuration.next_stage}
    return {
        "data_identifier": configuration.data_identifier,
        "preprocessor_name": PREPROCESSORS[configuration.resample_first],
        "batch_size": configuration.batch_size,
        "patch_size": list(configuration.patch_shape),
        "median_image_size_in_voxels": list(configuration.median_shape),
        "spacing": list(configuration.spacing_mm),
        "normalization_schemes": [SCHEMES[scheme] for scheme in configuration.normalization],
        "use_mask_for_norm": list(configuration.mask_normalization),
        **_resampling(),
        "architecture": _architecture_written(configuration.architecture),
        "batch_dice": configuration.batch_dice,
        **{key: _plain(value) for key, value in stages.items() if value is not None},
    }


def _plain(stages: str | tuple[str, ...]) -> str | list[str]:
    return stages if isinstance(stages, str) else list(stages)


def _resampling() -> dict[str, Any]:
    written: dict[str, Any] = {}
    for what, arguments in RESAMPLING_ARGUMENTS.items():
        written[f"resampling_fn_{what}"] = RESAMPLING
        written[f"resampling_fn_{what}_kwargs"] = dict(arguments)
    return written


def _architecture_written(architecture: Architecture) -> dict[str, Any]:
    return network_entry(
        architecture.encoder,
        features=architecture.features,
        strides=architecture.strides,
        kernels=architecture.kernels,
        blocks=(architecture.encoder_blocks, architecture.decoder_blocks),
    )


def write_plan(path: Path, plan: Plan, *, custom: dict[str, Any] | None = None) -> Plan:
    """Write plans.json in the peer's format.

    Args:
        path: The file.
        plan: The plan.
        custom: Further configurations as the file holds them; see `custom_configurations`.

    Returns:
        The plan as it stands in the file.

    Raises:
        PlanError: A custom configuration cannot be understood; nothing is written.

    Source: method.md section 6.9.
    """
    data = plan_to_json(plan)
    data["configurations"] |= custom or {}
    written = plan_from_json(data, where=str(path))
    write_json(path, data)
    return written


def read_plan(path: Path) -> Plan:
    """Read plans.json, ours or the peer's.

    Raises:
        PlanError: The file is missing or cannot be understood.

    Source: method.md section 6.9.
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

    Source: method.md section 6.9.

    """
    if not path.exists():
        return {}
    data = read_json(path, error=PlanError)
    found = data.get("configurations") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise PlanError(f"{path} exists and is not a plan; remove it, or name another output")
    return {name: entry for name, entry in found.items() if name not in CONFIGURATION_NAMES}
