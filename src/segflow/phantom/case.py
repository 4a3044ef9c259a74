"""One phantom case: draw an anatomy and a grid, render labels, and simulate the image of a scanner."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from segflow.contracts.arrays import Shape3, SpacingMm
from segflow.contracts.case import Geometry, RawCase
from segflow.phantom.anatomy import Anatomy, Structures, draw_anatomy, half_extent_mm, render, smooth_field

__all__ = ["make_case"]

_IN_PLANE_MM = (1.0, 1.3)
_SLICE_MM = (1.2, 2.0)
_MARGIN_VOXELS = (2, 5)  # at each end; at least, less than
_LEAST_SHAPE = (28, 44, 40)
_LARGEST_SHAPE = (40, 64, 60)
_ORIGIN_MM = 20.0

# Intensities before bias, noise and gain; the body's tissue is the darkest.
_TISSUE, _ORGAN, _RIM, _LESION = 0.45, 0.64, 0.72, 0.92
_TEXTURE_STD, _TEXTURE_MM = 0.035, 3.0
_PARTIAL_VOLUME_VOXELS = 0.6
_BIAS_STD, _BIAS_MM = 0.12, 18.0
_NOISE_STD = 0.04
_GAIN = (300.0, 600.0)


def make_case(index: int, seed: int) -> RawCase:
    """The case of an index (from 0) in the data set of a seed, with 28-40 by 44-64 by 40-60 voxels.

    The image (1, z, y, x) is float32, 0 outside the body and positive inside. The labels (z, y, x) are uint8: 0
    background, 1 organ, 2 lesion.
    """
    generator = np.random.default_rng([seed, index])
    anatomy = draw_anatomy(generator)
    spacing_mm = _draw_spacing(generator)
    shape = _draw_shape(anatomy, spacing_mm, generator)
    origin_mm = np.round(generator.uniform(-_ORIGIN_MM, _ORIGIN_MM, 3), 2)
    structures = render(anatomy, shape, spacing_mm, generator)
    geometry = Geometry(
        shape=shape,
        spacing_mm=spacing_mm,
        file_dimensions=3,
        file_spacing_mm=spacing_mm[::-1],
        origin_mm=tuple(origin_mm.tolist()),
        direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )
    image = _image_of(structures, spacing_mm, generator)[None]
    return RawCase(f"phantom_{index:03d}", image, _labels_of(structures), geometry)


def _draw_spacing(generator: np.random.Generator) -> SpacingMm:
    in_plane_mm = round(float(generator.uniform(*_IN_PLANE_MM)), 3)
    return (round(float(generator.uniform(*_SLICE_MM)), 3), in_plane_mm, in_plane_mm)


def _draw_shape(anatomy: Anatomy, spacing_mm: SpacingMm, generator: np.random.Generator) -> Shape3:
    extent = np.ceil(2 * half_extent_mm(anatomy) / spacing_mm).astype(int)
    shape = extent + 2 * generator.integers(*_MARGIN_VOXELS, 3)
    z, y, x = (int(n) for n in np.clip(shape, _LEAST_SHAPE, _LARGEST_SHAPE))
    return (z, y, x)


def _labels_of(structures: Structures) -> NDArray[np.uint8]:
    labels = np.zeros(structures.body.shape, np.uint8)
    labels[structures.organ] = 1
    labels[structures.lesion] = 2
    return labels


def _image_of(
    structures: Structures, spacing_mm: SpacingMm, generator: np.random.Generator
) -> NDArray[np.float32]:
    signal = np.where(structures.body, _TISSUE, 0.0)
    signal[structures.rim] = _RIM
    signal[structures.organ | structures.rods] = _ORGAN
    signal[structures.lesion | structures.spots] = _LESION
    shape = structures.body.shape
    signal += _TEXTURE_STD * smooth_field(shape, spacing_mm, _TEXTURE_MM, generator)
    signal = gaussian_filter(signal, _PARTIAL_VOLUME_VOXELS)
    signal *= np.exp(_BIAS_STD * smooth_field(shape, spacing_mm, _BIAS_MM, generator))
    in_phase, quadrature = _NOISE_STD * generator.standard_normal((2, *shape))
    magnitude = np.hypot(signal + in_phase, quadrature)  # Rician
    gain = generator.uniform(*_GAIN)
    return np.where(structures.body, gain * magnitude, 0.0).astype(np.float32)
