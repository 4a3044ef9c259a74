"""From fingerprint to plan: all rule-based parameters. Source: method.md sections 3, 6, 7."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segflow.contracts.arrays import lengths_text
from segflow.contracts.errors import PlanError
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.plan import Architecture, Configuration, Normalization, Plan
from segflow.contracts.reasons import PlanReasons
from segflow.planning.patch import Sizing, coverage, plan_low_resolution, size_patch_and_batch
from segflow.planning.spacing import axis_order, inverse_order, median_shape_at, target_spacing
from segflow.planning.topology import features_per_stage, per_stage
from segflow.recipes.planner import PlannerRecipe
from segflow.volumes.crop import reorder

__all__ = [
    "PlanInput",
    "make_plan",
    "make_plan_with_reasons",
    "mask_normalization",
    "normalizations",
    "reader_name",
]

_CASCADE = "3d_cascade_fullres"


@dataclass(frozen=True, kw_only=True)
class PlanInput:
    """What planning needs to know of dataset.json.

    Attributes:
        channel_names: They determine the normalisation.
        n_cases: `numTraining`.
        n_outputs: Entries of the label table.
        file_ending: Of image files; determines nnU-Net's reader unless `reader` is given.
        reader: `overwrite_image_reader_writer`, if given.
    """

    name: str
    channel_names: tuple[str, ...]
    n_cases: int
    n_outputs: int
    file_ending: str = ".nii.gz"
    reader: str | None = None


def make_plan(fingerprint: Fingerprint, dataset: PlanInput, recipe: PlannerRecipe) -> Plan:
    """Derive spacing, patch, batch and network of every configuration from the fingerprint.

    1. The target spacing (6.1), and the order of axes with the coarsest first (6.2).
    2. The median shape at that spacing (6.3).
    3. Patch, batch and network of 2d (6.8), 3d_fullres (6.6), and 3d_lowres with its cascade where that pays (6.7).
    4. The normalisation of each channel (7).

    Args:
        fingerprint: Of the data set.
        dataset: What dataset.json says.
        recipe: The fixed parameters of planning.

    Raises:
        PlanError: The fingerprint has another number of channels, or no network fits the memory.

    Source: method.md section 6.
    """
    return make_plan_with_reasons(fingerprint, dataset, recipe)[0]


def make_plan_with_reasons(
    fingerprint: Fingerprint, dataset: PlanInput, recipe: PlannerRecipe
) -> tuple[Plan, PlanReasons]:
    """A plan as of `make_plan`, and what decided it."""
    _check(fingerprint, dataset)
    spacing = target_spacing(fingerprint)
    target_mm = recipe.spacing_mm or spacing.target_mm
    if all(shape[0] == 1 for shape in fingerprint.shapes_after_crop):
        target_mm = (spacing.target_mm[0], *target_mm[1:])  # of 2D images, z means nothing
    order = axis_order(target_mm)
    shape = reorder(median_shape_at(fingerprint, target_mm), order)
    sizings = _sizings(reorder(target_mm, order), shape, dataset, recipe)
    raw_mm = np.median(fingerprint.spacings, axis=0)
    raw_shape = np.median(fingerprint.shapes_after_crop, axis=0)
    z_mm, y_mm, x_mm = reorder([float(mm) for mm in raw_mm], order)
    z, y, x = reorder([round(float(size)) for size in raw_shape], order)
    schemes = normalizations(dataset.channel_names, given=recipe.normalization)
    masks = mask_normalization(schemes, fingerprint.median_relative_size_after_cropping)
    plan = Plan(
        dataset_name=dataset.name,
        plans_name=recipe.plans_name,
        planner=recipe.planner,
        image_reader_writer=reader_name(dataset.file_ending, fingerprint, wanted=dataset.reader),
        median_spacing_mm=(z_mm, y_mm, x_mm),
        median_shape=(z, y, x),
        transpose_forward=order,
        transpose_backward=inverse_order(order),
        configurations={name: _configuration(name, sizings, schemes, masks, recipe) for name in sizings},
        intensities=fingerprint.foreground_intensity_properties_per_channel,
    )
    full = sizings.get("3d_fullres")
    return plan, PlanReasons(
        spacing=None if recipe.spacing_mm else spacing,
        sizes={name: sizing.reasons for name, sizing in sizings.items()},
        coverage=coverage(full) if full else 1.0,
        relative_size=fingerprint.median_relative_size_after_cropping,
    )


def _check(fingerprint: Fingerprint, dataset: PlanInput) -> None:
    if not fingerprint.spacings or len(fingerprint.spacings) != len(fingerprint.shapes_after_crop):
        raise PlanError("the fingerprint must have a spacing and a shape for each case; extract it again")
    if not all(value > 0 for of_case in fingerprint.spacings for value in of_case):
        raise PlanError(
            "the fingerprint has a spacing that is not above 0 mm; correct the image and extract it again"
        )
    measured = len(fingerprint.foreground_intensity_properties_per_channel)
    if measured != len(dataset.channel_names):
        raise PlanError(
            f"the fingerprint has {measured} channels, but dataset.json names {len(dataset.channel_names)} "
            f"({', '.join(dataset.channel_names)}); extract the fingerprint again"
        )


def _sizings(
    spacing_mm: tuple[float, ...], median_shape: tuple[float, ...], dataset: PlanInput, recipe: PlannerRecipe
) -> dict[str, Sizing]:
    """Patch and batch of every configuration, given spacing and shape of 3d_fullres in transposed order.

    A configuration whose network would have a single stage is left out.
    """
    voxels = math.prod(median_shape) * dataset.n_cases
    n_outputs = dataset.n_outputs + len(dataset.channel_names) * recipe.counts_channels
    flat = size_patch_and_batch(
        spacing_mm[1:], median_shape[1:], recipe, dataset_voxels=voxels, n_outputs=n_outputs
    )
    found = {"2d": flat}
    if median_shape[0] > 1:
        full = size_patch_and_batch(
            spacing_mm, median_shape, recipe, dataset_voxels=voxels, n_outputs=n_outputs
        )
        low = plan_low_resolution(full, recipe, n_cases=dataset.n_cases, n_outputs=n_outputs)
        found |= (
            {"3d_fullres": full} if low is None else {"3d_lowres": low, "3d_fullres": full, _CASCADE: full}
        )
    deep = {name: one for name, one in found.items() if len(one.topology.strides) > 1}
    if not deep:
        raise PlanError(
            f"images of {lengths_text(median_shape)} voxels (median) are too small for a U-Net; give a finer spacing"
            " with planning.spacing_mm, or larger images"
        )
    return deep


def _configuration(
    name: str,
    sizings: Mapping[str, Sizing],
    schemes: Sequence[Normalization],
    masks: Sequence[bool],
    recipe: PlannerRecipe,
) -> Configuration:
    sizing, found = sizings[name], sizings[name].topology
    n_stages = len(found.strides)
    return Configuration(
        name=name,
        data_identifier=_data_identifier(name, recipe),
        spacing_mm=sizing.spacing_mm,
        patch_shape=found.patch,
        median_shape=sizing.median_shape,
        batch_size=sizing.batch_size,
        batch_dice=name in {"2d", _CASCADE} or (name == "3d_fullres" and _CASCADE in sizings),
        normalization=tuple(schemes),
        mask_normalization=tuple(masks),
        resample_first=recipe.resample_first,
        label_interpolation=recipe.label_interpolation,
        separate_z=recipe.separate_z,
        architecture=Architecture(
            encoder=recipe.encoder,
            features=features_per_stage(recipe, n_stages, len(found.patch)),
            strides=found.strides,
            kernels=found.kernels,
            encoder_blocks=per_stage(recipe.encoder_blocks, n_stages),
            decoder_blocks=(recipe.decoder_blocks,) * (n_stages - 1),
            norm_affine=recipe.norm_affine,
            upsampling_bias=recipe.upsampling_bias,
            head_bias=recipe.head_bias,
            heads=recipe.heads,
        ),
        previous_stage="3d_lowres" if name == _CASCADE else None,
        next_stage=_CASCADE if name == "3d_lowres" else None,
    )


def _data_identifier(name: str, recipe: PlannerRecipe) -> str:
    """nnU-Net's name of the prepared cases; presets share those at the default full resolution."""
    full = "3d_fullres" if name == _CASCADE else name
    is_alike = recipe.preparation == PlannerRecipe().preparation
    is_shared = recipe.data_name is not None and is_alike and full != "3d_lowres"
    return f"{recipe.data_name if is_shared else recipe.plans_name}_{full}"


_BY_CHANNEL_NAME: dict[str, Normalization] = {
    "ct": "ct",
    "nonorm": "none",
    "zscore": "zscore",
    "rescale_to_0_1": "rescale_0_1",
    "rgb_to_0_1": "rgb_0_1",
}
MASK_BELOW_RELATIVE_SIZE = 0.75  # median share of the image that the crop keeps


def normalizations(
    channel_names: Sequence[str], *, given: Normalization | None = None
) -> tuple[Normalization, ...]:
    """The scheme of each channel, by its name in dataset.json, z-score for every unknown name; or a given one.

    Source: method.md section 7.
    """
    return tuple(given or _BY_CHANNEL_NAME.get(name.casefold(), "zscore") for name in channel_names)


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


_READER = "SimpleITKIO"
_READERS = {
    ".png": "NaturalImage2DIO",
    ".bmp": "NaturalImage2DIO",
    ".tif": "Tiff3DIO",
    ".tiff": "Tiff3DIO",
    ".nii": "NibabelIO",
}
_READER_NAMES = {*_READERS.values(), _READER, "SimpleITKIOWithReorient", "NibabelIOWithReorient"}


def reader_name(file_ending: str, fingerprint: Fingerprint, *, wanted: str | None = None) -> str:
    """The class with which nnU-Net reads the images, for plans.json.

    Args:
        file_ending: Of image files, with its dot.
        fingerprint: Distinguishes flat .tif images from volumes.
        wanted: `overwrite_image_reader_writer` of dataset.json; ignored if nnU-Net has no such class.

    Source: method.md sections 2, 3.
    """
    if wanted in _READER_NAMES:
        return str(wanted)
    ending = file_ending.lower()
    if ending == ".tif" and all(shape[0] == 1 for shape in fingerprint.shapes_after_crop):
        return "NaturalImage2DIO"
    return _READERS.get(ending, _READER)
