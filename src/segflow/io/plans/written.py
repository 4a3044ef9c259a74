"""A plan as the peer writes it. Source: method.md section 6.9."""

from __future__ import annotations

from typing import Any

from segflow.contracts.plan import Architecture, Configuration, Plan
from segflow.io.plans.vocabulary import (
    PREPROCESSORS,
    RESAMPLING,
    RESAMPLING_ARGUMENTS,
    SCHEMES,
    network_entry,
)

__all__ = ["plan_to_json"]


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
        "architecture": _architecture(configuration.architecture),
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


def _architecture(architecture: Architecture) -> dict[str, Any]:
    return network_entry(
        architecture.encoder,
        features=architecture.features,
        strides=architecture.strides,
        kernels=architecture.kernels,
        blocks=(architecture.encoder_blocks, architecture.decoder_blocks),
    )
