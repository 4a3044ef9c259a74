"""The peer's plans.json, understood: every key is known, and what segflow does not have is refused.

Source: method.md section 6.9.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field

from segflow.contracts.codec import Contract
from segflow.contracts.errors import PlanError
from segflow.contracts.fingerprint import IntensityProperties
from segflow.contracts.names import SAFE_NAME
from segflow.contracts.plan import Plan
from segflow.io.plans.configuration import PeerConfiguration, check_configuration, to_configuration
from segflow.io.plans.limits import only
from segflow.io.plans.old import upgraded

__all__ = ["plan_from_json"]


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
