"""What to train: the job, and the checks that refuse one which cannot be trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from segflow.contracts.case import CaseReader
from segflow.contracts.errors import SegflowError, TrainingError
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Configuration, Fold
from segflow.losses.compound import deep_supervision_weights
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe

__all__ = ["Augment", "Pretrained", "TrainingJob", "check_job"]

Augment = Literal["workers", "device"]


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Initial weights of all layers but the segmentation heads.

    Attributes:
        weights: In segflow's names.
        digest: Of their file.
        where: The file, for messages.
        adapts_stem: They may be of a network of other channels; without, these are refused.
    """

    weights: Mapping[str, Tensor]
    digest: str
    where: str
    adapts_stem: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What to train, on which cases, and on which device.

    A setting such as `training.learning_rate` is a field of a recipe here (`training`) and used where it takes effect
    (`step.learning_rate`).

    Attributes:
        configuration: Patch, batch and network.
        labels: Classes or regions.
        channels: Of the image, without those of a previous stage.
        fold: Cases to train on and to validate with.
        training: Fixed parameters of training.
        augmentation: Fixed parameters of augmentation.
        device: "cpu", "cuda" or "cuda:0".
        seed: Of weights and batches.
        workers: Processes that make batches; 0 for none.
        pretrained: Weights to start from, in place of random ones.
        checkpoint_s: Seconds after which the state is saved within an epoch.
        augment: Where patches are augmented: in the "workers", or batch by batch on the "device".
        deterministic: The same bits in every run on the same kind of GPU; always so on a CPU.
        compile: Compile the network with torch.compile; None: in long trainings on GPUs, if it works.
    """

    configuration: Configuration
    labels: Labels
    channels: int
    fold: Fold
    training: TrainingRecipe
    augmentation: AugmentationRecipe
    device: str
    seed: int
    workers: int
    pretrained: Pretrained | None = None
    checkpoint_s: float = math.inf
    augment: Augment = "workers"
    deterministic: bool = False
    compile: bool | None = None

    @property
    def input_channels(self) -> int:
        """Channels of the network's input: a cascade adds one per foreground label."""
        cascade = self.configuration.previous_stage is not None
        return self.channels + (len(self.labels.foreground_values) if cascade else 0)

    @property
    def scale_weights(self) -> tuple[float, ...]:
        """Weight of each of the network's outputs in the loss, full resolution first."""
        recipe = self.training
        if not recipe.deep_supervision:
            return (1.0,)
        return deep_supervision_weights(
            self.configuration.architecture.n_outputs, recipe.deep_supervision_weights
        )

    @property
    def scales(self) -> int:
        """Outputs of the network up to the last one that counts in the loss."""
        return 1 + max(i for i, weight in enumerate(self.scale_weights) if weight > 0)

    @property
    def parts(self) -> dict[str, str]:
        """What determines the weights, as text; also the kind of device, as each stores them in an order of its own."""
        return {
            "configuration": self.configuration.model_dump_json(),
            "labels": repr(self.labels),
            "channels": str(self.channels),
            "fold": self.fold.model_dump_json(),
            "training recipe": self.training.model_dump_json(),
            "augmentation recipe": self.augmentation.model_dump_json(),
            "seed": str(self.seed),
            "device": self.device.partition(":")[0],
            **({} if self.pretrained is None else {"pretrained weights": self.pretrained.digest}),
        }


def check_job(job: TrainingJob, reader: CaseReader, devices: Sequence[str]) -> None:
    """Refuse a job that cannot be trained on some devices, before any process is started.

    Raises:
        TrainingError: With the device, the size or the case at fault, and what to do.
    """
    configuration, recipe = job.configuration, job.training
    if min(configuration.batch_size, recipe.epochs, recipe.iterations) < 1:
        raise TrainingError(
            "batch size, epochs and iterations must be at least 1, found "
            f"{configuration.batch_size}, {recipe.epochs} and {recipe.iterations}"
        )
    _check_devices(devices, batch_size=configuration.batch_size)
    _check_patch(configuration)
    if not job.fold.train:
        raise TrainingError("the fold has no training cases; check the folds file")
    for identifier in dict.fromkeys(job.fold.train + job.fold.val):
        _check_case(identifier, job, reader)


def _check_devices(devices: Sequence[str], *, batch_size: int) -> None:
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


def _check_patch(configuration: Configuration) -> None:
    """The network must be able to halve the patch as often as its strides say."""
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


def _check_case(identifier: str, job: TrainingJob, reader: CaseReader) -> None:
    configuration = job.configuration
    try:
        case = reader.read(identifier)
    except (KeyError, OSError, ValueError, SegflowError) as error:
        raise TrainingError(
            f"case '{identifier}' of the fold cannot be read ({error}); "
            "preprocess it, or make folds of the cases there are"
        ) from error
    if len(case.image) != job.channels or len(configuration.mask_normalization) != job.channels:
        raise TrainingError(
            f"case '{identifier}' has {len(case.image)} channels, the configuration "
            f"{len(configuration.mask_normalization)} and the training {job.channels}; preprocess the data again"
        )
    if configuration.previous_stage is not None and case.previous_stage is None:
        raise TrainingError(
            f"case '{identifier}' lacks the labels of stage '{configuration.previous_stage}'; "
            "train that stage on all folds and predict its validation cases first"
        )
