"""Fixed parameters of planning. Source: method.md sections 6.4-6.7."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from segflow.contracts.codec import Contract

__all__ = ["PlannerRecipe"]

Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class PlannerRecipe(Contract):
    """What the planner takes as given.

    Attributes:
        plans_name: Name written to plans.json, in the peer's vocabulary.
        planner: Name of the peer's planner with these values, written to plans.json.
        data_name: Plans name that prepared cases of 2d and 3d_fullres are called by in plans.json; its own without one.
        encoder: Plain convolutions or residual blocks.
        budget: What fits the GPU is a number of activations, or of voxels of a patch.
        memory_3d, memory_2d: The activations or voxels that fit the reference GPU (method.md 6.6, R).
        reference_batch_3d, reference_batch_2d: Batch size those figures belong to (B0).
        reference_gpu_gb: Memory of the reference GPU.
        gpu_memory_gb: Memory to plan for; the budget scales in proportion.
        start_patch: The search begins with a patch of fixed volume; with one whose finest axis has 512 voxels, and in
            2D the median image; or with the median image. Isotropic in mm and no larger than it in the first two.
        batch_rounding: Of the batch that fits, to the nearest whole number or down.
        dataset_share: A batch covers at most this share of all the voxels of the data set (c).
        full_batch_must_fit: Shrink the patch until the reference batch fits, rather than a batch of 2.
        base_features: Feature maps of the first stage; doubled per stage.
        max_features_3d, max_features_2d: Upper limit of the doubling.
        min_edge: Shortest edge of a feature map, in voxels.
        max_poolings: Along an axis; no limit if None.
        encoder_blocks: Blocks per encoder stage, the last entry repeated.
        decoder_blocks: Convolutions per decoder stage.
        low_resolution_step: Factor by which 3d_lowres is made coarser until its patch covers enough.
        resample_first: Resample images before they are normalised, rather than after.
        spacing_mm: A target spacing along z, y, x of 3d_fullres, in place of the rule's.

    """

    plans_name: str = "nnUNetPlans"
    planner: str = "ExperimentPlanner"
    data_name: str | None = None
    encoder: Literal["plain", "residual"] = "plain"
    budget: Literal["activations", "voxels"] = "activations"
    memory_3d: Amount = 560e6
    memory_2d: Amount = 85e6
    reference_batch_3d: Count = 2
    reference_batch_2d: Count = 12
    reference_gpu_gb: Amount = 8.0
    gpu_memory_gb: Amount = 8.0
    start_patch: Literal["volume", "finest_512", "median"] = "volume"
    batch_rounding: Literal["nearest", "down"] = "nearest"
    dataset_share: Amount = 0.05
    full_batch_must_fit: bool = False
    base_features: Count = 32
    max_features_3d: Count = 320
    max_features_2d: Count = 512
    min_edge: Count = 4
    max_poolings: Count | None = None
    encoder_blocks: Annotated[tuple[Count, ...], Field(min_length=1)] = (2,)
    decoder_blocks: Count = 2
    low_resolution_step: Annotated[float, Field(ge=1.001, allow_inf_nan=False)] = 1.03
    resample_first: bool = False
    spacing_mm: tuple[Amount, Amount, Amount] | None = None
