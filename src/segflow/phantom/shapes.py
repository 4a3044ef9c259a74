"""From an anatomy in millimetres to masks on a voxel grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from segflow.contracts.arrays import Mask, Shape3, SpacingMm
from segflow.phantom.anatomy import Anatomy, Blob, Ellipsoid

__all__ = ["Structures", "coordinates_mm", "half_extent_mm", "render", "smooth_field"]

_BODY_DEFORMATION, _ORGAN_DEFORMATION = 0.02, 0.09  # standard deviation, in semi-axes
_DEFORMATION_MM = 5.0
_RIM_FROM = 0.91  # of the body's semi-axes


@dataclass(frozen=True)
class Structures:
    """One mask (z, y, x) per structure; organ and lesion do not overlap, and all lie inside the body."""

    body: Mask
    rim: Mask
    organ: Mask
    lesion: Mask
    rods: Mask
    spots: Mask


def half_extent_mm(anatomy: Anatomy) -> NDArray[np.float64]:
    """Half the size of the rotated body's bounding box.

    Args:
        anatomy: Of the case.

    Returns:
        Millimetres along z, y, x of the image, (3,).

    Source: ours; the support function of an ellipsoid.
    """
    return np.asarray(np.linalg.norm(anatomy.rotation * anatomy.body.semi_axes_mm, axis=1), dtype=np.float64)


def coordinates_mm(
    shape: Shape3, spacing_mm: SpacingMm, rotation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where each voxel lies in the body's own axes, from the middle of the grid.

    Args:
        shape: Voxels along z, y, x.
        spacing_mm: Along z, y, x.
        rotation: (3, 3), from the body's axes to those of the image.

    Returns:
        Millimetres, (z, y, x, 3).

    Source: ours.
    """
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, spacing_mm, strict=True)]
    return np.asarray(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ rotation)


def smooth_field(
    shape: tuple[int, ...], spacing_mm: SpacingMm, scale_mm: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """A random field that varies over some millimetres.

    Args:
        shape: Voxels along z, y, x.
        spacing_mm: Along z, y, x.
        scale_mm: Standard deviation of the Gaussian that smooths white noise.
        generator: Where the noise comes from.

    Returns:
        Mean 0, standard deviation 1, (z, y, x).

    Source: ours.
    """
    noise = generator.standard_normal(shape)
    field = gaussian_filter(noise, [scale_mm / mm for mm in spacing_mm], mode="reflect", truncate=3.0)
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float64)


def render(
    anatomy: Anatomy, points_mm: NDArray[np.float64], spacing_mm: SpacingMm, generator: np.random.Generator
) -> Structures:
    """Decide for every voxel which structures it belongs to.

    Args:
        anatomy: What to render.
        points_mm: Of the voxels, in the body's axes, (z, y, x, 3).
        spacing_mm: Along z, y, x.
        generator: For the deformation of body and organ.

    Returns:
        The masks.

    Source: ours.
    """
    shape = points_mm.shape[:3]
    bumps = smooth_field(shape, spacing_mm, _DEFORMATION_MM, generator)
    body_radius = _radius(anatomy.body, points_mm) + _BODY_DEFORMATION * bumps
    organ_radius = _radius(anatomy.organ, points_mm) + _ORGAN_DEFORMATION * bumps
    body = body_radius <= 1
    lesion = body & _inside_blob(anatomy.lesion, points_mm)
    organ = body & (organ_radius <= 1) & ~lesion
    rods = np.any([_radius(rod, points_mm) <= 1 for rod in anatomy.rods], axis=0)
    truth = organ | lesion
    return Structures(
        body=body,
        rim=body & (body_radius >= _RIM_FROM) & ~truth,
        organ=organ,
        lesion=lesion,
        rods=body & rods & ~truth,
        spots=body & _inside_spots(anatomy.spots, points_mm) & ~truth,
    )


def _radius(ellipsoid: Ellipsoid, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled = (points_mm - ellipsoid.centre_mm) @ ellipsoid.axes / ellipsoid.semi_axes_mm
    return np.asarray(np.linalg.norm(scaled, axis=-1), dtype=np.float64)


def _inside_blob(blob: Blob, points_mm: NDArray[np.float64]) -> Mask:
    density = np.zeros(points_mm.shape[:3])
    for centre, radius in zip(blob.centres_mm, blob.radii_mm, strict=True):
        density += np.exp(1 - np.sum(((points_mm - centre) / radius) ** 2, axis=-1))
    return np.asarray(density >= 1)


def _inside_spots(spots: Blob, points_mm: NDArray[np.float64]) -> Mask:
    inside = np.zeros(points_mm.shape[:3], np.bool_)
    for centre, radius in zip(spots.centres_mm, spots.radii_mm, strict=True):
        inside |= np.sum((points_mm - centre) ** 2, axis=-1) <= radius**2
    return inside
