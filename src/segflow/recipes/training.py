"""Fixed parameters of training and augmentation."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from segflow.contracts.codec import Amount, Contract, Count, PathText
from segflow.contracts.plan import ConfigurationName

__all__ = ["AugmentationRecipe", "LossName", "TrainingRecipe"]

LossName = Literal["dice_ce", "dice_topk", "ce", "dice"]
OptimizerName = Literal["sgd", "adamw", "muon"]
ScheduleName = Literal["polynomial", "cosine", "trapezoid"]


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"a range must not begin at {ends[0]} and end at {ends[1]}; swap them")
    return ends


def _around_one(ends: tuple[float, float]) -> tuple[float, float]:
    if not ends[0] <= 1 <= ends[1]:
        raise ValueError(
            f"a split must begin at 1 or below and end at 1 or above, not {ends[0]} to {ends[1]}"
        )
    return ends


Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Degrees = Annotated[float, Field(ge=0, le=360)]
#: In voxels of a patch; larger ones would need too much memory.
Voxels = Annotated[float, Field(ge=0, le=100)]
Ascending = AfterValidator(_ascending)
Range = Annotated[tuple[Weight, Weight], Ascending]
PositiveRange = Annotated[tuple[Amount, Amount], Ascending]
Split = Annotated[tuple[Amount, Amount], AfterValidator(_around_one)]
VoxelRange = Annotated[tuple[Voxels, Voxels], Ascending]
ShareRange = Annotated[tuple[PositiveShare, PositiveShare], Ascending]
#: Distance of the nodes of a deformation, as a share of the longest edge; smaller ones would need too many nodes.
NodeDistance = Annotated[float, Field(ge=0.02, le=1)]
#: Displacement of a node, as a share of that distance; with larger ones a deformation could fold.
NodeShift = Annotated[float, Field(ge=0, le=0.4)]


class AugmentationRecipe(Contract):
    """Probability and range of every transform, in the order of application. Source: method.md sections 12.1, 13.

    `p_*` is the probability per patch, `p_*_channel` and `p_*_label` that per channel or label of a chosen patch.
    Angles are in degrees. Of a `*_split` range, the part below 1 and the part above 1 are equally probable.

    Attributes:
        rotation_2d_elongated_deg, elongated_ratio: Largest angle of 2D patches whose edges differ by more than a ratio.
        anisotropy_ratio: 3D patches whose first edge is shorter by more than this are transformed in plane only.
        elastic_scale: Elastic deformation: distance of the nodes as a share of the patch's longest edge.
        elastic_magnitude: How far a node may move, as a share of that distance.
        p_cascade_morphology: Augmentation of the previous stage's label map, in a cascade.
        cascade_remove_max_share: Only components smaller than this share of the patch are removed.
    """

    rotation_3d_deg: Degrees = 30.0
    rotation_2d_deg: Degrees = 180.0
    rotation_2d_elongated_deg: Degrees = 15.0
    elongated_ratio: Amount = 1.5
    anisotropy_ratio: Amount = 3.0
    p_rotation: Share = 0.2
    p_scaling: Share = 0.2
    scaling: PositiveRange = (0.7, 1.4)
    p_elastic: Share = 0.0
    elastic_scale: Annotated[tuple[NodeDistance, NodeDistance], Ascending] = (0.1, 0.25)
    elastic_magnitude: Annotated[tuple[NodeShift, NodeShift], Ascending] = (0.0, 0.25)
    p_noise: Share = 0.1
    noise_std: Range = (0.0, 0.1)
    p_blur: Share = 0.2
    p_blur_channel: Share = 0.5
    blur_sigma: VoxelRange = (0.5, 1.0)
    p_brightness: Share = 0.15
    brightness_split: Split = (0.75, 1.25)
    p_contrast: Share = 0.15
    contrast_split: Split = (0.75, 1.25)
    p_low_resolution: Share = 0.25
    p_low_resolution_channel: Share = 0.5
    low_resolution: ShareRange = (0.5, 1.0)
    p_gamma_inverted: Share = 0.1
    p_gamma: Share = 0.3
    gamma_split: Split = (0.7, 1.5)
    p_mirror_axis: Share = 0.5
    p_cascade_morphology: Share = 0.4
    p_cascade_morphology_label: Share = 0.5
    cascade_radius: VoxelRange = (1.0, 8.0)
    p_cascade_remove: Share = 0.2
    p_cascade_remove_label: Share = 0.5
    cascade_remove_max_share: Share = 0.15


class TrainingRecipe(Contract):
    """How a network is trained. Source: method.md sections 12, 14, 15.

    Attributes:
        epochs: Length of training.
        schedule_epochs: Length of the learning-rate schedule; null: that of training.
        patience: End when the moving mean of the pseudo-Dice has not risen for this many epochs; null: never.
        iterations: Training batches per epoch.
        validation_iterations: Batches of held-out cases scored per epoch.
        optimizer: sgd (with Nesterov momentum), adamw, or muon (the steps of convolution kernels are orthogonalised,
            and all other parameters trained by Adam at 0.3 of the learning rate).
        learning_rate: That with which the schedule begins.
        schedule: polynomial ((1 - t) ** exponent, where t is the part of the schedule that is over), cosine, or
            trapezoid (constant, in the second half linear to 0).
        schedule_exponent: Exponent of the polynomial schedule.
        schedule_per: Whether the learning rate changes with every epoch or with every step.
        warmup: Share of training during which the schedule's rate is multiplied by a factor that rises linearly from 0
            to 1.
        momentum: Weight of past gradients; with adamw, its first beta.
        weight_decay: On all parameters; with muon, on kernels.
        gradient_clip_norm: Gradients are scaled down to this norm.
        foreground_share: Share of a batch's patches that are centred on a foreground voxel.
        loss: dice_ce (Dice and cross-entropy, equal weights), dice_topk (Dice and the cross-entropy of the voxels with
            the highest loss), ce or dice.
        top_k_share: Share of a patch's voxels that dice_topk uses.
        dice: Form of the Dice loss: mean (the mean over foreground classes) or squared (one ratio of all classes and
            voxels, background included: 1 - 2 sum(pg) / (sum(p^2) + sum(g^2))).
        entropy_per_class: Divide the cross-entropy by the number of classes (background included) or regions.
        deep_supervision: Also compute the loss at lower decoder resolutions, except the coarsest.
        deep_supervision_weights: Weights of the first outputs, full resolution first, as in [0.7, 0.2, 0.1]; others are
            0. null: halved per resolution.
        base_width: Feature maps of the first stage in place of the plan's; doubled at each further stage.
        batch_size: Patches per batch in place of the plan's, by configuration.
        pretrained: File of weights to begin with, segflow's or nnU-Net's: one, or one by configuration (section 24).
    """

    epochs: Count = 1000
    schedule_epochs: Count | None = None
    patience: Count | None = None
    iterations: Count = 250
    validation_iterations: Annotated[int, Field(ge=0, lt=2**31)] = 50
    optimizer: OptimizerName = "sgd"
    learning_rate: Amount = 0.01
    schedule: ScheduleName = "polynomial"
    schedule_exponent: Weight = 0.9
    schedule_per: Literal["epoch", "step"] = "epoch"
    warmup: Share = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    weight_decay: Weight = 3e-5
    gradient_clip_norm: Amount = 12.0
    foreground_share: Share = 0.33
    loss: LossName = "dice_ce"
    top_k_share: PositiveShare = 0.1
    dice: Literal["mean", "squared"] = "mean"
    entropy_per_class: bool = False
    deep_supervision: bool = True
    deep_supervision_weights: Annotated[tuple[Weight, ...], Field(min_length=1)] | None = None
    base_width: Count | None = None
    batch_size: dict[ConfigurationName, Count] = Field(default_factory=dict)
    pretrained: PathText | dict[ConfigurationName, PathText] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.schedule_epochs is not None and self.schedule_epochs < self.epochs:
            raise ValueError(
                f"training.schedule_epochs is {self.schedule_epochs}, but training lasts for {self.epochs} epochs; "
                "the learning rate must not reach 0 before its end"
            )
        if self.patience is not None and self.validation_iterations == 0:
            raise ValueError(
                "training.patience needs the pseudo-Dice of held-out cases; set training.validation_iterations above 0"
            )
        if self.deep_supervision_weights is not None and self.deep_supervision_weights[0] == 0:
            raise ValueError(
                "the first of training.deep_supervision_weights, that of full resolution, must be above 0"
            )
        return self

    def first_forced(self, batch: int) -> int:
        """Number, from 0, of the first of a batch's patches that are centred on foreground: the last ones are."""
        return round(batch * (1 - self.foreground_share))

    def pretrained_file(self, configuration: str) -> str | None:
        """The file of weights that a configuration begins with, if any."""
        given = self.pretrained
        return given.get(configuration) if isinstance(given, dict) else given
