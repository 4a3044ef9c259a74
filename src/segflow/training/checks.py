"""What a training cannot be started with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from segflow.contracts.case import CaseReader, TrainingCase
from segflow.contracts.errors import SegflowError, TrainingError
from segflow.contracts.plan import Configuration, Fold

__all__ = ["check_cases", "check_devices", "check_patch"]


def check_devices(devices: Sequence[str], *, batch_size: int) -> None:
    """Refuse devices that are not there, and more of them than patches in a batch.

    Args:
        devices: All "cpu", or all CUDA devices.
        batch_size: Patches in a batch.

    Raises:
        TrainingError: With the device, or with the sizes.

    Source: ours; method.md section 15 for the batch.
    """
    if devices[0] != "cpu" and not torch.cuda.is_available():
        raise TrainingError(f"device '{devices[0]}' was asked for, but torch finds no CUDA device; use 'cpu'")
    if len(devices) > batch_size:
        raise TrainingError(
            f"{len(devices)} GPUs (resources.gpus) cannot share a batch of {batch_size} patches; set resources.gpus "
            f"to {batch_size} at most, or a larger training.batch_size"
        )
    if len(devices) > 1 and devices[0] != "cpu" and torch.cuda.device_count() < len(devices):
        raise TrainingError(
            f"{len(devices)} GPUs were asked for (resources.gpus) and torch finds {torch.cuda.device_count()}; "
            "lower resources.gpus, or see that the job gets as many (CUDA_VISIBLE_DEVICES)"
        )


def check_patch(configuration: Configuration) -> None:
    """Refuse a patch that the network cannot halve as often as it wants to.

    Args:
        configuration: Patch shape and strides.

    Raises:
        TrainingError: Too few stages, or an edge that its strides don't divide.
    """
    strides = configuration.architecture.strides
    if len(strides) < 2:
        raise TrainingError(
            f"configuration '{configuration.name}' has a single stage; a U-Net needs at least two"
        )
    for axis, edge in enumerate(configuration.patch_shape):
        divisor = math.prod(stride[axis] for stride in strides)
        if edge < divisor or edge % divisor:
            raise TrainingError(
                f"the patch {configuration.patch_shape} has {edge} voxels along axis {axis}, which must be a "
                f"multiple of {divisor} for this network; change the patch, or plan again"
            )


def check_cases(fold: Fold, reader: CaseReader, *, configuration: Configuration, channels: int) -> None:
    """Refuse a fold without training cases, and cases that cannot be read or don't fit the configuration.

    Args:
        fold: Identifiers.
        reader: Gives the cases.
        configuration: Whether there is a previous stage.
        channels: Of the image.

    Raises:
        TrainingError: With the case.
    """
    if not fold.train:
        raise TrainingError("the fold has no training cases; check the folds file")
    for identifier in dict.fromkeys(fold.train + fold.val):
        case = _read(identifier, reader)
        if len(case.image) != channels or len(configuration.mask_normalization) != channels:
            raise TrainingError(
                f"case '{identifier}' has {len(case.image)} channels, the configuration "
                f"{len(configuration.mask_normalization)} and the training {channels}; "
                "preprocess the data again"
            )
        if configuration.previous_stage is not None and case.previous_stage is None:
            raise TrainingError(
                f"case '{identifier}' lacks the labels of stage '{configuration.previous_stage}'; "
                "train that stage on all folds and predict its validation cases first"
            )


def _read(identifier: str, reader: CaseReader) -> TrainingCase:
    try:
        return reader.read(identifier)
    except (KeyError, OSError, ValueError, SegflowError) as error:
        raise TrainingError(
            f"case '{identifier}' of the fold cannot be read ({error}); "
            "preprocess it, or make folds of the cases there are"
        ) from error
