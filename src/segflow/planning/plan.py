"""From fingerprint to plan: the rule-based parameters, put together. Source: method.md section 6.

Which normalisation each channel gets. Source: method.md section 7.
The peer's name for what reads a data set's files. Source: method.md section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segflow.contracts.errors import PlanError
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.plan import Architecture, Configuration, Normalization, Plan
from segflow.planning.cascade import plan_low_resolution
from segflow.planning.patch import Sizing, size_patch_and_batch
from segflow.planning.spacing import axis_order, inverse_order, median_shape_at, target_spacing
from segflow.planning.topology import features_per_stage, per_stage
from segflow.recipes.planner import PlannerRecipe
from segflow.volumes.crop import reorder

__all__ = [
    "PlanInput",
    "make_plan",
    "mask_normalization",
    "normalizations",
    "reader_name",
]

MASK_BELOW_RELATIVE_SIZE = 0.75  # of the image that is left by the crop, in the median

_BY_CHANNEL_NAME: dict[str, Normalization] = {
    "ct": "ct",
    "nonorm": "none",
    "zscore": "zscore",
    "rescale_to_0_1": "rescale_0_1",
    "rgb_to_0_1": "rgb_0_1",
}


def normalizations(channel_names: Sequence[str]) -> tuple[Normalization, ...]:
    """The scheme of each channel, by its name; z-score for every unknown name.

    Args:
        channel_names: As in dataset.json.

    Returns:
        One per channel.

    Source: method.md section 7.
    """
    return tuple(_BY_CHANNEL_NAME.get(name.casefold(), "zscore") for name in channel_names)


def mask_normalization(schemes: Sequence[Normalization], relative_size: float) -> tuple[bool, ...]:
    """Whether a channel's statistics leave out the zeros around the subject.

    Args:
        schemes: One per channel.
        relative_size: Median share of voxels that the crop to non-zero keeps.

    Returns:
        One per channel.

    Source: method.md section 7.
    """
    return tuple(scheme == "zscore" and relative_size < MASK_BELOW_RELATIVE_SIZE for scheme in schemes)


_DEFAULT = "SimpleITKIO"
_FLAT_TIF, _TIF = "NaturalImage2DIO", "Tiff3DIO"
_BY_ENDING = {
    ".png": "NaturalImage2DIO",
    ".bmp": "NaturalImage2DIO",
    ".tif": _TIF,
    ".tiff": _TIF,
    ".nii": "NibabelIO",
}
_NAMES = {*_BY_ENDING.values(), _DEFAULT, "SimpleITKIOWithReorient", "NibabelIOWithReorient"}


def reader_name(file_ending: str, fingerprint: Fingerprint, *, wanted: str | None = None) -> str:
    """Which of its readers the peer would use; segflow writes the name to plans.json for it.

    Args:
        file_ending: Of image files, with its dot.
        fingerprint: Tells flat .tif images from volumes.
        wanted: `overwrite_image_reader_writer` of dataset.json; a name the peer does not know is passed over.

    Returns:
        The name of a class of the peer.

    Source: method.md sections 2, 3.
    """
    if wanted in _NAMES:
        return str(wanted)
    ending = file_ending.lower()
    if ending == ".tif" and all(shape[0] == 1 for shape in fingerprint.shapes_after_crop):
        return _FLAT_TIF
    return _BY_ENDING.get(ending, _DEFAULT)


@dataclass(frozen=True, kw_only=True)
class PlanInput:
    """What planning needs to know of dataset.json.

    Attributes:
        name: Of the data set.
        channel_names: They choose the normalisation.
        n_cases: `numTraining`.
        n_outputs: Entries of the label table.
        file_ending: Of image files; names the peer's reader, with the next.
        reader: `overwrite_image_reader_writer`, if it says so.
    """

    name: str
    channel_names: tuple[str, ...]
    n_cases: int
    n_outputs: int
    file_ending: str = ".nii.gz"
    reader: str | None = None


@dataclass(frozen=True)
class _Grid:
    """A resolution and the images at it, in transposed order."""

    spacing_mm: tuple[float, ...]
    median_shape: tuple[float, ...]


def make_plan(fingerprint: Fingerprint, dataset: PlanInput, recipe: PlannerRecipe) -> Plan:
    """Derive spacing, patch, batch and network of every configuration from the fingerprint.

    Args:
        fingerprint: Of the data set.
        dataset: What dataset.json says.
        recipe: The fixed parameters of planning.

    Returns:
        The plan.

    Raises:
        PlanError: The fingerprint has another number of channels, or no network fits the memory.

    Source: method.md section 6.
    """
    _check(fingerprint, dataset)
    spacing_mm = recipe.spacing_mm or target_spacing(fingerprint)
    order = axis_order(spacing_mm)
    full = _Grid(reorder(spacing_mm, order), reorder(median_shape_at(fingerprint, spacing_mm), order))
    drafts = {"2d": _draft(_Grid(full.spacing_mm[1:], full.median_shape[1:]), full, dataset, recipe)}
    if full.median_shape[0] != 1:
        drafts |= _plan_3d(full, dataset, recipe)
    spacings, shapes = (
        np.median(fingerprint.spacings, axis=0),
        np.median(fingerprint.shapes_after_crop, axis=0),
    )
    z_mm, y_mm, x_mm = reorder([float(mm) for mm in spacings], order)
    z, y, x = reorder([round(float(size)) for size in shapes], order)
    schemes = normalizations(dataset.channel_names)
    masks = mask_normalization(schemes, fingerprint.median_relative_size_after_cropping)
    return Plan(
        dataset_name=dataset.name,
        plans_name=recipe.plans_name,
        planner=recipe.planner,
        image_reader_writer=reader_name(dataset.file_ending, fingerprint, wanted=dataset.reader),
        median_spacing_mm=(z_mm, y_mm, x_mm),
        median_shape=(z, y, x),
        transpose_forward=order,
        transpose_backward=inverse_order(order),
        configurations={
            name: _configuration(name, draft, schemes, masks, recipe) for name, draft in drafts.items()
        },
        intensities=fingerprint.foreground_intensity_properties_per_channel,
    )


def _check(fingerprint: Fingerprint, dataset: PlanInput) -> None:
    if not fingerprint.spacings or len(fingerprint.spacings) != len(fingerprint.shapes_after_crop):
        raise PlanError("the fingerprint must have a spacing and a shape for each case; make it anew")
    if not all(value > 0 for of_case in fingerprint.spacings for value in of_case):
        raise PlanError(
            "the fingerprint holds a spacing that is not above 0 mm; mend the image and make it anew"
        )
    measured = len(fingerprint.foreground_intensity_properties_per_channel)
    if measured != len(dataset.channel_names):
        raise PlanError(
            f"the fingerprint has {measured} channels, but dataset.json names {len(dataset.channel_names)} "
            f"({', '.join(dataset.channel_names)}); make the fingerprint anew"
        )


@dataclass(frozen=True)
class _Draft:
    """A configuration before it gets its names and normalisation."""

    grid: _Grid
    sizing: Sizing
    batch_dice: bool
    previous_stage: str | None = None
    next_stage: str | None = None


def _draft(
    grid: _Grid, full: _Grid, dataset: PlanInput, recipe: PlannerRecipe, *, batch_dice: bool = True
) -> _Draft:
    voxels = math.prod(full.median_shape) * dataset.n_cases
    sizing = size_patch_and_batch(
        grid.spacing_mm, grid.median_shape, recipe, dataset_voxels=voxels, n_outputs=dataset.n_outputs
    )
    return _Draft(grid, sizing, batch_dice)


def _plan_3d(full: _Grid, dataset: PlanInput, recipe: PlannerRecipe) -> dict[str, _Draft]:
    draft = _draft(full, full, dataset, recipe, batch_dice=False)
    low = plan_low_resolution(
        full.spacing_mm,
        full.median_shape,
        draft.sizing.topology.patch,
        recipe,
        n_cases=dataset.n_cases,
        n_outputs=dataset.n_outputs,
    )
    if low is None:
        return {"3d_fullres": draft}
    low_grid = _Grid(low.spacing_mm, low.median_shape)
    return {
        "3d_lowres": _Draft(low_grid, low.sizing, batch_dice=False, next_stage="3d_cascade_fullres"),
        "3d_fullres": _Draft(full, draft.sizing, batch_dice=True),
        "3d_cascade_fullres": _Draft(full, draft.sizing, batch_dice=True, previous_stage="3d_lowres"),
    }


def _configuration(
    name: str, draft: _Draft, schemes: Sequence[str], masks: Sequence[bool], recipe: PlannerRecipe
) -> Configuration:
    found = draft.sizing.topology
    n_stages = len(found.strides)
    return Configuration(
        name=name,
        data_identifier=_data_identifier(name, recipe),
        spacing_mm=draft.grid.spacing_mm,
        patch_shape=found.patch,
        median_shape=draft.grid.median_shape,
        batch_size=draft.sizing.batch_size,
        batch_dice=draft.batch_dice,
        normalization=tuple(schemes),
        mask_normalization=tuple(masks),
        resample_first=recipe.resample_first,
        architecture=Architecture(
            encoder=recipe.encoder,
            features=features_per_stage(recipe, n_stages, len(found.patch)),
            strides=found.strides,
            kernels=found.kernels,
            encoder_blocks=per_stage(recipe.encoder_blocks, n_stages),
            decoder_blocks=(recipe.decoder_blocks,) * (n_stages - 1),
        ),
        previous_stage=draft.previous_stage,
        next_stage=draft.next_stage,
    )


def _data_identifier(name: str, recipe: PlannerRecipe) -> str:
    """What the peer calls the prepared cases; those at the rule's own full resolution are shared between presets."""
    full = "3d_fullres" if name == "3d_cascade_fullres" else name
    is_alike = recipe.spacing_mm is None and not recipe.resample_first
    is_shared = recipe.data_name is not None and is_alike and full != "3d_lowres"
    return f"{recipe.data_name if is_shared else recipe.plans_name}_{full}"
