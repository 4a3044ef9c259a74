"""Why a plan is as it is: the numbers that its rules compared. They are not part of plans.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["PlanReasons", "SizeReasons", "SpacingReasons"]


@dataclass(frozen=True)
class SpacingReasons:
    """Why a data set is resampled to some spacing. Axes are z, y, x of the files.

    Attributes:
        target_mm: The spacing.
        median_mm: Over cases, per axis.
        coarse: The axis of coarsest median spacing.
        times_coarser: Its median spacing divided by the largest of the other axes.
        times_shorter: Voxels of the shorter of the other axes divided by its own, in the median image.
        is_anisotropic: Both are above the limit, so that a low percentile decides along that axis.
        percentile_mm: That percentile.
    """

    target_mm: tuple[float, ...]
    median_mm: tuple[float, ...]
    coarse: int
    times_coarser: float
    times_shorter: float
    is_anisotropic: bool
    percentile_mm: float


@dataclass(frozen=True)
class SizeReasons:
    """Why a network has its patch and batch.

    Attributes:
        start: The patch that the search began with, rounded up to what the strides divide.
        shortened: How often an axis of it was shortened.
        is_given: The recipe gave the patch.
        used: What a batch of `needed` patches takes of the memory that is planned for, as a share.
        needed: Patches that had to fit.
        gpu_gb: Memory of the GPU that is planned for.
        fitting: Patches that would fit.
        cap: Patches that cover the largest share of the data set that a batch may have.
        share: That share of its voxels.
        edges: Voxels of a feature map at the lowest resolution, per axis.
        min_edge: The fewest that one may have.
        max_poolings: How often an axis may be halved, if that is limited.
        budget: What the search counts: memory of activations, or voxels of a batch.
    """

    start: tuple[int, ...]
    shortened: int
    is_given: bool
    used: float
    needed: int
    gpu_gb: float
    fitting: float
    cap: int
    share: float
    edges: tuple[int, ...]
    min_edge: int
    max_poolings: int | None
    budget: Literal["activations", "voxels"]


@dataclass(frozen=True)
class PlanReasons:
    """Why a plan is as it is.

    Attributes:
        spacing: Of the spacing; None if the recipe gave it.
        sizes: By configuration; the cascade's is that of 3d_fullres.
        coverage: Share of the median image that a patch of 3d_fullres covers; 1 without 3d_fullres.
        relative_size: Median share of voxels that the crop to non-zero keeps.
    """

    spacing: SpacingReasons | None
    sizes: Mapping[str, SizeReasons]
    coverage: float
    relative_size: float
