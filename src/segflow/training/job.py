"""What to train, and the parts that follow from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from segflow.augmentation.pipeline import Settings
from segflow.augmentation.targets import target_shapes
from segflow.contracts.case import CaseReader
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Configuration, Fold
from segflow.losses.compound import build_loss, deep_supervision_weights
from segflow.network.unet import build_network
from segflow.network.weights import load_weights_
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe
from segflow.training.batches import BatchMaker
from segflow.training.step import Learner
from segflow.training.team import ALONE, Team

__all__ = ["Pretrained", "TrainingJob", "batch_maker", "make_learner"]


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Weights to begin with, for all layers but the segmentation heads.

    Attributes:
        weights: In segflow's names.
        digest: Of their file.
        where: The file, for messages.
    """

    weights: Mapping[str, Tensor]
    digest: str
    where: str


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What to train, on what, and where.

    Attributes:
        configuration: Patch, batch, network.
        labels: Classes or regions.
        channels: Of the image, without those of a previous stage.
        fold: Cases to train on and to validate with.
        training: Fixed parameters of training.
        augmentation: Fixed parameters of augmentation.
        device: "cpu", "cuda" or "cuda:0".
        seed: Of weights and batches.
        workers: Processes that make batches; 0 for none.
        pretrained: Weights to begin with, in place of random ones.
        checkpoint_s: Seconds after which the state is saved within an epoch.
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

    @property
    def input_channels(self) -> int:
        """Channels of the network's input: a cascade adds one per foreground label."""
        cascade = self.configuration.previous_stage is not None
        return self.channels + (len(self.labels.foreground_values) if cascade else 0)

    @property
    def scale_weights(self) -> tuple[float, ...]:
        """What each of the network's outputs counts in the loss, full resolution first."""
        recipe = self.training
        if not recipe.deep_supervision:
            return (1.0,)
        n_scales = self.configuration.architecture.n_stages - 1  # the bottleneck has no output
        return deep_supervision_weights(n_scales, recipe.deep_supervision_weights)

    @property
    def parts(self) -> dict[str, str]:
        """What decides the weights, as text per part; devices, their number and workers don't, but for rounding."""
        return {
            "configuration": self.configuration.model_dump_json(),
            "labels": repr(self.labels),
            "channels": str(self.channels),
            "fold": self.fold.model_dump_json(),
            "training recipe": self.training.model_dump_json(),
            "augmentation recipe": self.augmentation.model_dump_json(),
            "seed": str(self.seed),
            **({} if self.pretrained is None else {"pretrained weights": self.pretrained.digest}),
        }


def make_learner(job: TrainingJob, team: Team = ALONE) -> Learner:
    """The network of a job with its first weights, its loss and its optimiser.

    Args:
        job: What to train.
        team: Of the processes that do.

    Returns:
        The learner, on the job's device.

    Raises:
        TrainingError: The pretrained weights are those of another network.

    Source: method.md sections 11, 14, 15 and 24.
    """
    configuration, recipe = job.configuration, job.training
    network = build_network(
        configuration.architecture,
        input_channels=job.input_channels,
        output_channels=job.labels.n_outputs,
        seed=job.seed,
    )
    if job.pretrained is not None:
        load_weights_(network, job.pretrained.weights, where=job.pretrained.where, heads=False)
    reduction = team.reduction(configuration.batch_size)
    loss = build_loss(
        job.labels, recipe, job.scale_weights, batch_dice=configuration.batch_dice, reduction=reduction
    )
    return Learner(network, loss, recipe=recipe, labels=job.labels, device=job.device, team=team)


def batch_maker(job: TrainingJob, reader: CaseReader, team: Team = ALONE) -> BatchMaker:
    """What makes the batches of a job.

    Args:
        job: What to train.
        reader: Gives preprocessed cases.
        team: Of the processes that train; this one makes its own patches only.

    Returns:
        The maker. Without validation cases there are no validation batches.

    Source: method.md sections 12 and 13.

    """
    configuration, recipe = job.configuration, job.training
    settings = Settings(
        recipe=job.augmentation,
        patch_shape=configuration.patch_shape,
        target_shapes=target_shapes(
            configuration.patch_shape,
            configuration.architecture.strides,
            n_scored=1 + max(i for i, weight in enumerate(job.scale_weights) if weight > 0),
        ),
        labels=job.labels,
        zero_outside=configuration.mask_normalization,
        cascade=configuration.previous_stage is not None,
    )
    return BatchMaker(
        reader=reader,
        fold=job.fold,
        settings=settings,
        batch_size=configuration.batch_size,
        foreground_share=recipe.foreground_share,
        iterations=recipe.iterations,
        validation_iterations=recipe.validation_iterations if job.fold.val else 0,
        seed=job.seed,
        share=team.positions(configuration.batch_size),
    )
