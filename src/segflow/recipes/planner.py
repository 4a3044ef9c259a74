"""Fixed parameters of planning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from segflow.contracts.codec import Amount, Contract, Count
from segflow.contracts.plan import Encoder, LabelInterpolation, Normalization, PlanName

__all__ = ["PlannerRecipe"]


class PlannerRecipe(Contract):
    """Parameters of the planner. Source: method.md sections 6.4-6.7; values of nnU-Net v1, section 26.

    Attributes:
        plans_name: Name of the plan, written to plans.json.
        planner: nnU-Net's planner class with these values, written to plans.json.
        data_name: Name of the prepared data of 2d and 3d_fullres in plans.json; null: plans_name.
        encoder: plain (convolutions) or residual (blocks).
        budget: Unit of the memory budget: activations of a sample, or voxels of its patch.
        counts_channels: Whether the activations include those of the image, one per channel and voxel.
        memory_3d, memory_2d: How many of them fit the reference GPU (section 6.6, R).
        reference_batch_3d, reference_batch_2d: Batch size of the memory budget (section 6.6, B0).
        reference_gpu_gb: Memory of the reference GPU.
        gpu_memory_gb: Memory of the GPU to plan for; the budget scales in proportion.
        start_patch: Where the search for a patch begins: volume (256^3 or 2048^2 voxels), finest_512 (512 voxels along
            the finest axis; in 2D the median image), or median (the median image).
        patch_3d: Patch of all 3D configurations, in the plan's order of axes, in place of the search; rounded up to
            what the strides divide.
        batch_rounding: Round the batch that fits to the nearest whole number, or down.
        dataset_share: A batch covers at most this share of all voxels of the data set (section 6.6, c).
        full_batch_must_fit: Shrink the patch until the reference batch fits, rather than a batch of 2.
        base_features: Feature maps of the first stage; doubled at each further stage up to a limit (section 6.5).
        max_features_3d, max_features_2d: That limit.
        min_edge: Shortest edge of a feature map, in voxels (section 6.4).
        lone_axis_edges: Pool along a single axis only if it has at least this many times the shortest edge (section
            6.4).
        max_poolings: Maximum number of poolings along an axis; null: no limit.
        encoder_blocks: Convolutions (plain) or blocks (residual) per encoder stage; the last entry is repeated.
        decoder_blocks: Convolutions per decoder stage.
        norm_affine: Whether normalisations scale and shift by learned parameters.
        upsampling_bias, head_bias: Whether transposed convolutions and segmentation heads have biases.
        heads: How many of the finest resolutions have a segmentation head; null: all but the coarsest.
        low_resolution_step: Factor by which the spacing of 3d_lowres grows until a patch covers a quarter of the median
            image (section 6.7).
        resample_first: Resample images before they are normalised, rather than after.
        spacing_mm: Target spacing of 3d_fullres along z, y, x; null: the rule decides.
        normalization: Scheme of all channels: zscore, ct, none, rescale_0_1 or rgb_0_1; null: by the channel's name
            (section 7).
        label_interpolation: Resample label maps by linear interpolation of each label's indicator (section 8.4), or by
            the nearest voxel.
        separate_z: Resample anisotropic images slice by slice, with the nearest slice in between (section 8.2).
    """

    plans_name: PlanName = "nnUNetPlans"
    planner: str = "ExperimentPlanner"
    data_name: PlanName | None = None
    encoder: Encoder = "plain"
    budget: Literal["activations", "voxels"] = "activations"
    counts_channels: bool = False
    memory_3d: Amount = 560e6
    memory_2d: Amount = 85e6
    reference_batch_3d: Count = 2
    reference_batch_2d: Count = 12
    reference_gpu_gb: Amount = 8.0
    gpu_memory_gb: Amount = 8.0
    start_patch: Literal["volume", "finest_512", "median"] = "volume"
    patch_3d: tuple[Count, Count, Count] | None = None
    batch_rounding: Literal["nearest", "down"] = "nearest"
    dataset_share: Amount = 0.05
    full_batch_must_fit: bool = False
    base_features: Count = 32
    max_features_3d: Count = 320
    max_features_2d: Count = 512
    min_edge: Count = 4
    lone_axis_edges: Annotated[int, Field(ge=2)] = 3
    max_poolings: Count | None = None
    encoder_blocks: Annotated[tuple[Count, ...], Field(min_length=1)] = (2,)
    decoder_blocks: Count = 2
    norm_affine: bool = True
    upsampling_bias: bool = True
    head_bias: bool = True
    heads: Count | None = None
    low_resolution_step: Annotated[float, Field(ge=1.001, allow_inf_nan=False)] = 1.03
    resample_first: bool = False
    spacing_mm: tuple[Amount, Amount, Amount] | None = None
    normalization: Normalization | None = None
    label_interpolation: LabelInterpolation = "linear"
    separate_z: bool = True

    @property
    def preparation(self) -> tuple[object, ...]:
        """What decides the prepared cases at full resolution: recipes with the default's values share them."""
        return (
            self.spacing_mm,
            self.resample_first,
            self.normalization,
            self.label_interpolation,
            self.separate_z,
        )
