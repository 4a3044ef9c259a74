"""plans.json in the peer's format, to and from `Plan`. Source: method.md section 6.9."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segflow.contracts.codec import Contract
from segflow.contracts.errors import PlanError
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.folds import Fold
from segflow.contracts.names import CONFIGURATION_NAMES
from segflow.contracts.plan import Architecture, Configuration, Normalization, Plan, Preparation
from segflow.io.files import read_contract, read_json, write_json, write_text

__all__ = [
    "plan_from_json",
    "plan_to_json",
    "read_configuration",
    "read_fingerprint",
    "read_folds",
    "read_plan",
    "read_preparation",
    "write_folds",
    "write_parts",
    "write_plan",
]

_SCHEMES: dict[Normalization, str] = {
    "zscore": "ZScoreNormalization",
    "ct": "CTNormalization",
    "none": "NoNormalization",
    "rescale_0_1": "RescaleTo01Normalization",
    "rgb_0_1": "RGBTo01Normalization",
}
_NORMALIZATIONS: dict[str, Normalization] = {name: ours for ours, name in _SCHEMES.items()}
_NETWORKS = {
    "plain": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "residual": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
}
_ENCODER_KEYS = {"plain": "n_conv_per_stage", "residual": "n_blocks_per_stage"}
_RESAMPLING = "resample_data_or_seg_to_shape"


class _Folds(Contract):
    folds: tuple[Fold, ...]


class _Network(Contract):
    configuration: Configuration | None


class _Preparation(Contract):
    preparation: Preparation | None


def write_plan(path: Path, plan: Plan) -> None:
    """Write plans.json in the peer's format. Source: method.md section 6.9."""
    write_json(path, plan_to_json(plan))


def read_plan(path: Path) -> Plan:
    """Read plans.json.

    Raises:
        PlanError: The file is missing or cannot be understood.

    Source: method.md section 6.9.
    """
    return plan_from_json(read_json(path, error=PlanError), where=str(path))


def read_fingerprint(path: Path) -> Fingerprint:
    """Read dataset_fingerprint.json.

    Raises:
        PlanError: The file is missing or cannot be understood.

    Source: method.md section 5.
    """
    return read_contract(Fingerprint, path)


def read_folds(path: Path) -> tuple[Fold, ...]:
    """Read splits_final.json.

    Raises:
        PlanError: The file is missing or cannot be understood.

    Source: method.md section 10.
    """
    data = {"folds": read_json(path, error=PlanError)}
    return _Folds.parse(data, where=str(path), error=PlanError).folds


def write_folds(path: Path, folds: tuple[Fold, ...]) -> None:
    """Write splits_final.json in the peer's format. Source: method.md section 10."""
    write_json(path, [fold.model_dump(mode="json") for fold in folds])


def write_parts(folder: Path, plan: Plan) -> None:
    """Write what the stages read of a plan, a file per stage and configuration.

    A stage that depends on its part alone need not run again when another part of the plan changes. There is
    always a file for every configuration, so that the workflow knows their names beforehand.

    Args:
        folder: Gets network/CONFIGURATION.json and preparation/CONFIGURATION.json.
        plan: The plan.

    Source: ours.
    """
    for name in CONFIGURATION_NAMES:
        configuration = plan.configurations.get(name)
        text = _Network(configuration=configuration).to_json()
        write_text(folder / "network" / f"{name}.json", text)
        found = None if configuration is None else plan.preparation(name)
        write_text(folder / "preparation" / f"{name}.json", _Preparation(preparation=found).to_json())


def read_configuration(path: Path) -> Configuration:
    """Read network/CONFIGURATION.json.

    Raises:
        PlanError: The file is missing, cannot be understood, or the plan has no such configuration.

    Source: ours.
    """
    found = read_contract(_Network, path).configuration
    if found is None:
        raise PlanError(f"{path}: the plan has no configuration {path.stem} for this data set")
    return found


def read_preparation(path: Path) -> Preparation:
    """Read preparation/CONFIGURATION.json.

    Raises:
        PlanError: The file is missing, cannot be understood, or the plan has no such configuration.

    Source: ours.
    """
    found = read_contract(_Preparation, path).preparation
    if found is None:
        raise PlanError(f"{path}: the plan has no configuration {path.stem} for this data set")
    return found


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """A plan as the peer writes it.

    Args:
        plan: The plan.

    Returns:
        Plain data.

    Source: method.md section 6.9.
    """
    return {
        "dataset_name": plan.dataset_name,
        "plans_name": plan.plans_name,
        "original_median_spacing_after_transp": list(plan.median_spacing_mm),
        "original_median_shape_after_transp": list(plan.median_shape),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(plan.transpose_forward),
        "transpose_backward": list(plan.transpose_backward),
        "configurations": {name: _configuration_to_json(c) for name, c in plan.configurations.items()},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            channel: properties.model_dump() for channel, properties in plan.intensities.items()
        },
    }


def plan_from_json(data: Any, *, where: str) -> Plan:
    """Understand a plan, ours or the peer's (of release 2.5 or later).

    Args:
        data: The content of plans.json.
        where: The file, for messages.

    Returns:
        The plan.

    Raises:
        PlanError: A key is missing, `inherits_from` leads nowhere or in a circle, or the plan asks for
            something segflow does not have.

    Source: method.md section 6.9.
    """
    try:
        raw = data["configurations"]
        plan = {
            "dataset_name": data["dataset_name"],
            "plans_name": data["plans_name"],
            "median_spacing_mm": data["original_median_spacing_after_transp"],
            "median_shape": data["original_median_shape_after_transp"],
            "transpose_forward": data["transpose_forward"],
            "transpose_backward": data["transpose_backward"],
            "intensities": data["foreground_intensity_properties_per_channel"],
            "configurations": {
                name: _configuration_from_json(name, _inherited(name, raw, where)) for name in raw
            },
        }
    except (KeyError, TypeError) as problem:
        raise PlanError(
            f"{where}: not a plan this version understands; {problem} is missing or wrong"
        ) from None
    return Plan.parse(plan, where=where, error=PlanError)


def _inherited(name: str, raw: dict[str, Any], where: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """A configuration with its parents' keys; its own win."""
    if name not in raw:
        raise PlanError(f"{where}: configuration {seen[-1]} inherits from {name}, which does not exist")
    if name in seen:
        raise PlanError(f"{where}: configurations inherit in a circle: {' -> '.join((*seen, name))}")
    own = dict(raw[name])
    parent = own.pop("inherits_from", None)
    return own if parent is None else {**_inherited(parent, raw, where, (*seen, name)), **own}


def _configuration_from_json(name: str, data: dict[str, Any]) -> dict[str, Any]:
    arch = data["architecture"]
    encoder = {network: kind for kind, network in _NETWORKS.items()}[arch["network_class_name"]]
    args = arch["arch_kwargs"]
    return {
        "name": name,
        "data_identifier": data["data_identifier"],
        "spacing_mm": data["spacing"],
        "patch_shape": data["patch_size"],
        "median_shape": data["median_image_size_in_voxels"],
        "batch_size": data["batch_size"],
        "batch_dice": data["batch_dice"],
        "normalization": [_NORMALIZATIONS[scheme] for scheme in data["normalization_schemes"]],
        "mask_normalization": data["use_mask_for_norm"],
        "architecture": {
            "encoder": encoder,
            "features": args["features_per_stage"],
            "strides": args["strides"],
            "kernels": args["kernel_sizes"],
            "encoder_blocks": args[_ENCODER_KEYS[encoder]],
            "decoder_blocks": args["n_conv_per_stage_decoder"],
        },
        "previous_stage": data.get("previous_stage"),
        "next_stage": data.get("next_stage"),
    }


def _configuration_to_json(configuration: Configuration) -> dict[str, Any]:
    if configuration.previous_stage is not None:
        return {"inherits_from": "3d_fullres", "previous_stage": configuration.previous_stage}
    written = {
        "data_identifier": configuration.data_identifier,
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": configuration.batch_size,
        "patch_size": list(configuration.patch_shape),
        "median_image_size_in_voxels": list(configuration.median_shape),
        "spacing": list(configuration.spacing_mm),
        "normalization_schemes": [_SCHEMES[scheme] for scheme in configuration.normalization],
        "use_mask_for_norm": list(configuration.mask_normalization),
        **_resampling_to_json(),
        "architecture": _architecture_to_json(configuration.architecture),
        "batch_dice": configuration.batch_dice,
    }
    if configuration.next_stage is not None:
        written["next_stage"] = configuration.next_stage
    return written


def _resampling_to_json() -> dict[str, Any]:
    written: dict[str, Any] = {}
    for what, is_seg, order in (("data", False, 3), ("seg", True, 1), ("probabilities", False, 1)):
        written[f"resampling_fn_{what}"] = _RESAMPLING
        written[f"resampling_fn_{what}_kwargs"] = {
            "is_seg": is_seg,
            "order": order,
            "order_z": 0,
            "force_separate_z": None,
        }
    return written


def _architecture_to_json(architecture: Architecture) -> dict[str, Any]:
    dimensions = architecture.dimensions
    return {
        "network_class_name": _NETWORKS[architecture.encoder],
        "arch_kwargs": {
            "n_stages": architecture.n_stages,
            "features_per_stage": list(architecture.features),
            "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
            "kernel_sizes": [list(kernel) for kernel in architecture.kernels],
            "strides": [list(stride) for stride in architecture.strides],
            _ENCODER_KEYS[architecture.encoder]: list(architecture.encoder_blocks),
            "n_conv_per_stage_decoder": list(architecture.decoder_blocks),
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
