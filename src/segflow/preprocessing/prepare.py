"""One case from raw to network-ready. Source: method.md section 9.1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segflow.contracts.arrays import Image, LabelMap, Mask, Shape3, Voxels
from segflow.contracts.case import CaseRecord, RawCase
from segflow.contracts.labels import Labels, Target
from segflow.contracts.plan import Preparation
from segflow.preprocessing.locations import target_locations
from segflow.preprocessing.normalise import normalise
from segflow.volumes.axes import reorder, transpose_spatial
from segflow.volumes.crop import bounding_box, crop, mark_outside, nonzero_mask
from segflow.volumes.resample import resample_image, resample_labels, resampled_shape, separate_axis

__all__ = ["PreparedCase", "prepare_case", "prepare_labels", "target_grid"]

_INT8_MAX = 127


@dataclass(frozen=True)
class PreparedCase:
    """A case as the network sees it.

    Attributes:
        record: What undoes it.
        image: (c, z, y, x), float32.
        labels: (z, y, x), -1 outside the mask; None without a label file.
        locations: Voxels of each target; empty without a label file.
    """

    record: CaseRecord
    image: Image
    labels: LabelMap | None
    locations: dict[Target, Voxels]


@dataclass(frozen=True)
class _Grid:
    """Spacings before and after resampling, and the shape after."""

    spacing_mm: tuple[float, ...]
    target_mm: tuple[float, ...]
    shape: Shape3

    @property
    def axis(self) -> int | None:
        return separate_axis(self.spacing_mm, self.target_mm)


def prepare_case(raw: RawCase, preparation: Preparation, labels: Labels) -> PreparedCase:
    """Transpose, crop to non-zero, normalise, resample, and note where the targets are.

    Args:
        raw: The case as read.
        preparation: Axis order, spacing and normalisation.
        labels: Classes or regions.

    Returns:
        The prepared case.

    Source: method.md section 9.1.
    """
    image = transpose_spatial(raw.image, preparation.transpose_forward)
    whole_mask = nonzero_mask(image)
    box = bounding_box(whole_mask)
    mask = crop(whole_mask, box)
    spacing_mm = reorder(raw.geometry.spacing_mm, preparation.transpose_forward)
    shape, target_mm = target_grid(mask.shape, spacing_mm, preparation)
    grid = _Grid(spacing_mm, target_mm, shape)
    normalised = normalise(
        crop(image, box),
        mask,
        preparation.normalization,
        use_mask=preparation.mask_normalization,
        intensities=preparation.intensities,
    )
    label_map = None
    if raw.labels is not None:
        turned = crop(transpose_spatial(raw.labels, preparation.transpose_forward), box)
        label_map = _small(_resample_marked(turned, mask, grid))
    record = CaseRecord(
        identifier=raw.identifier,
        geometry=raw.geometry,
        shape_before_crop=_shape3(image.shape[1:]),
        crop_box=box,
        spacing_mm=_spacing3(spacing_mm),
        shape=shape,
    )
    return PreparedCase(
        record=record,
        image=np.ascontiguousarray(resample_image(normalised, shape, grid.axis), np.float32),
        labels=label_map,
        locations={} if label_map is None else target_locations(label_map, labels),
    )


def prepare_labels(label_map: LabelMap, record: CaseRecord, preparation: Preparation) -> LabelMap:
    """Bring a label map of the original space to the grid of a prepared case (the cascade's extra input).

    Args:
        label_map: (z, y, x), in the raw image's axis order.
        record: Of the prepared case.
        preparation: For axis order and spacing.

    Returns:
        (z, y, x) of the prepared image's shape.

    Source: method.md section 18; one path for training and prediction (section 25, defect 5).
    """
    turned = crop(transpose_spatial(label_map, preparation.transpose_forward), record.crop_box)
    shape, target_mm = target_grid(turned.shape, record.spacing_mm, preparation)
    return _small(
        resample_labels(turned.astype(np.int16), shape, separate_axis(record.spacing_mm, target_mm))
    )


def target_grid(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], preparation: Preparation
) -> tuple[Shape3, tuple[float, ...]]:
    """Shape and spacing after resampling; a 2D configuration keeps the first axis as it is.

    Args:
        shape: Of the cropped image.
        spacing_mm: Of the case, transposed.
        preparation: For the target spacing.

    Returns:
        Voxels and millimetres per axis.

    Source: method.md section 8.1.
    """
    target_mm = preparation.spacing_mm
    if preparation.dimensions == 2:
        target_mm = (spacing_mm[0], *target_mm)
    return _shape3(resampled_shape(shape, spacing_mm, target_mm)), target_mm


def _resample_marked(labels: LabelMap, mask: Mask, grid: _Grid) -> LabelMap:
    return resample_labels(mark_outside(labels, mask), grid.shape, grid.axis)


def _small(labels: LabelMap) -> LabelMap:
    """int8 where it suffices, as labels are read far more often than written."""
    dtype = np.int8 if labels.size == 0 or labels.max() <= _INT8_MAX else np.int16
    return np.ascontiguousarray(labels, dtype)


def _shape3(shape: tuple[int, ...]) -> Shape3:
    z, y, x = shape
    return (z, y, x)


def _spacing3(spacing_mm: tuple[float, ...]) -> tuple[float, float, float]:
    z, y, x = spacing_mm
    return (z, y, x)
