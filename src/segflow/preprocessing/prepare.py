"""Preparation of one case: crop, normalise, resample, and draw voxels of each target for sampling.

Source: method.md section 9.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import Image, LabelMap, Mask, Shape3, Voxels, lengths_text
from segflow.contracts.case import CaseRecord, PreparedCase, RawCase
from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels, Target, members
from segflow.contracts.plan import Preparation
from segflow.preprocessing.normalise import normalise
from segflow.processes.memory import check_memory
from segflow.volumes.crop import crop, crop_mask, mark_outside, nonzero_voxels, reorder, transpose_spatial
from segflow.volumes.resample import (
    resample_image,
    resample_labels,
    resample_labels_nearest,
    resampled_shape,
    separate_axis,
)

__all__ = ["prepare_case", "prepare_labels", "target_grid", "target_locations"]

MAX_VOXELS = 10_000
MIN_SHARE = 0.01
_SEED = 1234
_INT8_MAX = 127
_LABEL_BYTES = 2  # of a voxel of the resampled label map or mask


def target_locations(label_map: LabelMap, labels: Labels) -> dict[Target, Voxels]:
    """Draw up to 10,000 voxels, but at least 1 %, of every target.

    Args:
        label_map: (z, y, x), -1 outside the mask.
        labels: Classes or regions; an ignore label adds the tuple of all annotated values as a target.

    Returns:
        Voxels (n, 3) of each target; n is 0 if it does not occur.

    Source: method.md section 9.2 (the rule since release 2.6.2).
    """
    random = np.random.RandomState(_SEED)
    targets = (*labels.targets, *(() if labels.ignore is None else ((-1, *labels.values),)))
    pools = _pools(label_map, {value for target in targets for value in members(target)})
    drawn: dict[Target, Voxels] = {}
    for target in targets:
        pool = np.concatenate([pools[value] for value in members(target)])
        index = np.unravel_index(_draw(pool, random), label_map.shape)
        drawn[target] = np.stack(index, axis=1).astype(np.int32)
    return drawn


def _pools(label_map: LabelMap, values: set[int]) -> dict[int, NDArray[np.intp]]:
    """Flat indices of every label's voxels, in C order; one pass for all foreground labels."""
    flat = label_map.ravel()
    pools = {value: np.flatnonzero(flat == value) for value in values if value <= 0}
    index = np.flatnonzero(flat > 0)
    carried = flat[index]
    index = index[np.argsort(carried, kind="stable")]
    ends = np.cumsum(np.bincount(carried, minlength=max(values, default=0) + 1))
    return pools | {value: index[ends[value - 1] : ends[value]] for value in values if value > 0}


def _draw(pool: NDArray[np.intp], random: np.random.RandomState) -> NDArray[np.intp]:
    if len(pool) == 0:
        return pool
    wanted = max(min(MAX_VOXELS, len(pool)), math.ceil(MIN_SHARE * len(pool)))
    return pool[random.choice(len(pool), wanted, replace=False)]


def prepare_case(raw: RawCase, preparation: Preparation, labels: Labels, *, copies: int = 1) -> PreparedCase:
    """Transpose, crop to non-zero, normalise and resample (or resample and normalise), and locate the targets.

    Args:
        raw: The case.
        preparation: How.
        labels: Those of the data set.
        copies: How many copies of the prepared image its user will hold at once.

    Raises:
        MemoryShortageError: What is prepared would be larger than the memory.
        DatasetError: Values that a scheme of normalisation does not take.

    Source: method.md section 9.1; section 26 for the other order.
    """
    image = transpose_spatial(raw.image, preparation.transpose_forward)
    box, mask = crop_mask(nonzero_voxels(image))
    spacing_mm = reorder(raw.geometry.spacing_mm, preparation.transpose_forward)
    shape, target_mm = target_grid(mask.shape, spacing_mm, preparation)
    voxel_bytes = copies * image.itemsize * len(image) + _LABEL_BYTES
    check_memory(
        math.prod(shape) * voxel_bytes + mask.size * image.itemsize,
        f"case {raw.identifier}: its voxels of {lengths_text(spacing_mm)} mm become "
        f"{' x '.join(map(str, shape))} voxels of {lengths_text(target_mm)} mm",
    )
    axis = separate_axis(spacing_mm, target_mm, allowed=preparation.separate_z)
    label_map = None
    if raw.labels is not None:
        label_map = _small(crop(transpose_spatial(raw.labels, preparation.transpose_forward), box))
        mark_outside(label_map, mask)
        mask = label_map >= 0  # also where a label lies on voxels that are zero
        label_map = _resampled(label_map, shape, axis, preparation)
    if preparation.resample_first:
        mask = _resampled_mask(mask, shape, axis, preparation) if label_map is None else label_map >= 0
    record = CaseRecord(
        identifier=raw.identifier,
        geometry=raw.geometry,
        shape_before_crop=image.shape[1:],
        crop_box=box,
        spacing_mm=spacing_mm,
        shape=shape,
    )
    try:
        prepared = _prepare_image(crop(image, box), mask, preparation, shape, axis)
    except DatasetError as problem:
        raise DatasetError(f"case {raw.identifier}: {problem}") from None
    return PreparedCase(
        record=record,
        image=prepared,
        labels=label_map,
        locations={} if label_map is None else target_locations(label_map, labels),
    )


def _prepare_image(
    image: Image, mask: Mask, preparation: Preparation, shape: Shape3, axis: int | None
) -> Image:
    """Normalise and resample channel by channel, which needs memory for one channel only.

    If it is resampled first, a channel is normalised with the resampled mask and 0 outside, since resampling blurs the
    border of the subject into the background.
    """
    prepared = np.empty((len(image), *shape), np.float32)
    schemes = zip(
        preparation.normalization, preparation.mask_normalization, preparation.intensities, strict=True
    )
    for channel, out, (scheme, masked, intensities) in zip(image, prepared, schemes, strict=True):
        inside = mask if masked else None
        if preparation.resample_first:
            resample_image(channel, out, axis)
            out[...] = normalise(out, scheme, mask=inside, intensities=intensities)
            if inside is not None:
                out[~inside] = 0
        else:
            resample_image(normalise(channel, scheme, mask=inside, intensities=intensities), out, axis)
    return prepared


def _resampled_mask(mask: Mask, shape: Shape3, axis: int | None, preparation: Preparation) -> Mask:
    """Resampled like the labels of a training case, where -1 is outside."""
    marked = mask.astype(np.int8)
    marked -= 1
    return _resampled(marked, shape, axis, preparation) >= 0


def _resampled(labels: LabelMap, shape: Shape3, axis: int | None, preparation: Preparation) -> LabelMap:
    """A label map on another grid, as the plan says."""
    if preparation.label_interpolation == "nearest":
        return resample_labels_nearest(labels, shape)
    return resample_labels(labels, shape, axis)


def prepare_labels(label_map: LabelMap, record: CaseRecord, preparation: Preparation) -> LabelMap:
    """Resample a label map (z, y, x) of the raw image to the grid of its prepared case: the cascade's extra input.

    Source: method.md section 18; the same for training and prediction (section 25, defect 5).
    """
    turned = crop(transpose_spatial(label_map, preparation.transpose_forward), record.crop_box)
    shape, target_mm = target_grid(turned.shape, record.spacing_mm, preparation)
    axis = separate_axis(record.spacing_mm, target_mm, allowed=preparation.separate_z)
    return _resampled(_small(turned), shape, axis, preparation)


def target_grid(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], preparation: Preparation
) -> tuple[Shape3, tuple[float, ...]]:
    """Shape and spacing of a cropped image after resampling; 2D configurations keep the first axis unchanged.

    Source: method.md section 8.1.
    """
    target_mm = preparation.spacing_mm
    if preparation.dimensions == 2:
        target_mm = (spacing_mm[0], *target_mm)
    z, y, x = resampled_shape(shape, spacing_mm, target_mm)
    return (z, y, x), target_mm


def _small(labels: LabelMap) -> LabelMap:
    """A copy as int8 if the values fit, since labels are read far more often than written."""
    dtype = np.int8 if labels.max(initial=0) <= _INT8_MAX else np.int16
    return labels.astype(dtype, order="C")
