"""The structures of a phantom case: drawn as ellipsoids and lobes in millimetres, then rendered to masks.

Coordinates are millimetres from the centre of the body, along z, y, x of the body. All cases are drawn from the same
distributions, so that a network can learn them. Distractors (rods and spots) have the intensity of organ and lesion but
another shape and other neighbours, so that intensity alone does not separate the classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from segflow.contracts.arrays import Mask, Shape3, SpacingMm

__all__ = ["Anatomy", "Structures", "draw_anatomy", "half_extent_mm", "render", "smooth_field"]

Array = NDArray[np.float64]

_BODY_MM = (20.5, 25.0, 22.0)
_ORGAN_MM, _ORGAN_CENTRE_MM = (10.0, 12.0, 10.0), (0.0, -6.5, 4.0)
_ROD_MM, _ROD_CENTRES_MM = (12.5, 3.8, 3.8), ((0.0, 13.0, -8.0), (1.0, 14.0, 6.0))
_SHIFT_MM = 1.5
_SIZE_JITTER = 0.1  # share of every semi-axis
_TILT_DEG = 12.0
_LESION_DEPTH = (0.55, 0.95)  # of the way from the organ's centre to its surface
_LESION_LOBES = (3, 6)  # at least, less than
_LOBE_MM, _LOBE_OFFSET_MM = (2.3, 3.6), 3.4
_SPOT_MM = (2.2, 3.0)
_N_SPOTS, _N_SPOT_TRIALS = 3, 64
_SPOT_REACH = (0.4, 0.75)  # of the body's semi-axes
_SPOT_CLEARANCE = 1.6  # in the organ's semi-axes
_BODY_DEFORMATION, _ORGAN_DEFORMATION = 0.02, 0.09  # standard deviation, in semi-axes
_DEFORMATION_MM = 5.0
_RIM_FROM = 0.91  # of the body's semi-axes


@dataclass(frozen=True)
class Ellipsoid:
    """Centre and semi-axes in millimetres, and the rotation (3, 3) of its axes."""

    centre_mm: Array
    semi_axes_mm: Array
    axes: Array

    def radius(self, points_mm: Array) -> Array:
        """Distance of points (..., 3) from the centre, 1 on the surface."""
        scaled = (points_mm - self.centre_mm) @ self.axes / self.semi_axes_mm
        return np.asarray(np.linalg.norm(scaled, axis=-1), dtype=np.float64)


@dataclass(frozen=True)
class Balls:
    """Centres (n, 3) and radii (n,) in millimetres."""

    centres_mm: Array
    radii_mm: Array


@dataclass(frozen=True)
class Anatomy:
    """All structures of a case.

    Attributes:
        rotation: (3, 3), from the body's axes to those of the image.
        body: Contains all others.
        organ: Class 1, except where the lesion is.
        lesion: Class 2, lobes that merge into one another, in or at the organ.
        rods: Elongated background with the organ's intensity.
        spots: Round background with the lesion's intensity, away from the organ.
    """

    rotation: Array
    body: Ellipsoid
    organ: Ellipsoid
    lesion: Balls
    rods: tuple[Ellipsoid, ...]
    spots: Balls


@dataclass(frozen=True)
class Structures:
    """One mask (z, y, x) per structure; organ and lesion do not overlap, and all lie inside the body."""

    body: Mask
    rim: Mask
    organ: Mask
    lesion: Mask
    rods: Mask
    spots: Mask


def draw_anatomy(generator: np.random.Generator) -> Anatomy:
    """Draw the structures of one case."""
    body = Ellipsoid(np.zeros(3), _semi_axes(_BODY_MM, generator), np.eye(3))
    organ = _draw_ellipsoid(_ORGAN_CENTRE_MM, _ORGAN_MM, generator)
    rods = tuple(_draw_ellipsoid(centre, _ROD_MM, generator) for centre in _ROD_CENTRES_MM)
    lesion = _draw_lesion(organ, generator)
    spots = _draw_spots(body, organ, generator)
    return Anatomy(_tilt(generator), body, organ, lesion, rods, spots)


def half_extent_mm(anatomy: Anatomy) -> Array:
    """Half the size of the rotated body's bounding box along z, y, x of the image, in millimetres."""
    return np.asarray(np.linalg.norm(anatomy.rotation * anatomy.body.semi_axes_mm, axis=1), dtype=np.float64)


def smooth_field(
    shape: tuple[int, ...], spacing_mm: SpacingMm, scale_mm: float, generator: np.random.Generator
) -> Array:
    """A random field (z, y, x) with mean 0 and standard deviation 1: noise smoothed by a Gaussian of `scale_mm`."""
    noise = generator.standard_normal(shape)
    field = gaussian_filter(noise, [scale_mm / mm for mm in spacing_mm], mode="reflect", truncate=3.0)
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float64)


def render(
    anatomy: Anatomy, shape: Shape3, spacing_mm: SpacingMm, generator: np.random.Generator
) -> Structures:
    """The masks of an anatomy on a grid around its centre; the generator draws the deformation of body and organ."""
    points_mm = _coordinates_mm(shape, spacing_mm, anatomy.rotation)
    bumps = smooth_field(shape, spacing_mm, _DEFORMATION_MM, generator)
    body_radius = anatomy.body.radius(points_mm) + _BODY_DEFORMATION * bumps
    organ_radius = anatomy.organ.radius(points_mm) + _ORGAN_DEFORMATION * bumps
    body = body_radius <= 1
    lesion = body & _in_merged_lobes(anatomy.lesion, points_mm)
    organ = body & (organ_radius <= 1) & ~lesion
    background = body & ~(organ | lesion)
    return Structures(
        body=body,
        rim=background & (body_radius >= _RIM_FROM),
        organ=organ,
        lesion=lesion,
        rods=background & np.any([rod.radius(points_mm) <= 1 for rod in anatomy.rods], axis=0),
        spots=background & _in_any(anatomy.spots, points_mm),
    )


def _coordinates_mm(shape: Shape3, spacing_mm: SpacingMm, rotation: Array) -> Array:
    """Coordinates (z, y, x, 3) of all voxels along the body's axes, from the centre of the grid."""
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, spacing_mm, strict=True)]
    return np.asarray(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ rotation)


def _in_merged_lobes(lobes: Balls, points_mm: Array) -> Mask:
    density = np.zeros(points_mm.shape[:3])
    for centre, radius in zip(lobes.centres_mm, lobes.radii_mm, strict=True):
        density += np.exp(1 - np.sum(((points_mm - centre) / radius) ** 2, axis=-1))
    return np.asarray(density >= 1)


def _in_any(balls: Balls, points_mm: Array) -> Mask:
    inside = np.zeros(points_mm.shape[:3], np.bool_)
    for centre, radius in zip(balls.centres_mm, balls.radii_mm, strict=True):
        inside |= np.sum((points_mm - centre) ** 2, axis=-1) <= radius**2
    return inside


def _draw_ellipsoid(
    centre_mm: tuple[float, ...], semi_axes_mm: tuple[float, ...], generator: np.random.Generator
) -> Ellipsoid:
    centre = np.array(centre_mm) + generator.uniform(-_SHIFT_MM, _SHIFT_MM, 3)
    return Ellipsoid(centre, _semi_axes(semi_axes_mm, generator), _tilt(generator))


def _semi_axes(semi_axes_mm: tuple[float, ...], generator: np.random.Generator) -> Array:
    return np.array(semi_axes_mm) * generator.uniform(1 - _SIZE_JITTER, 1 + _SIZE_JITTER, 3)


def _tilt(generator: np.random.Generator) -> Array:
    angles_deg = generator.uniform(-_TILT_DEG, _TILT_DEG, 3)
    return np.asarray(Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix(), dtype=np.float64)


def _draw_lesion(organ: Ellipsoid, generator: np.random.Generator) -> Balls:
    depth = generator.uniform(*_LESION_DEPTH)
    centre = organ.centre_mm + organ.axes @ (depth * organ.semi_axes_mm * _direction(generator))
    n_lobes = int(generator.integers(*_LESION_LOBES))
    offsets = np.stack([_LOBE_OFFSET_MM * _direction(generator) for _ in range(n_lobes)])
    return Balls(centre + offsets, generator.uniform(*_LOBE_MM, n_lobes))


def _draw_spots(body: Ellipsoid, organ: Ellipsoid, generator: np.random.Generator) -> Balls:
    trials = np.stack([_direction(generator) for _ in range(_N_SPOT_TRIALS)])
    trials = trials * body.semi_axes_mm * generator.uniform(*_SPOT_REACH, (_N_SPOT_TRIALS, 1))
    radii = generator.uniform(*_SPOT_MM, _N_SPOTS)
    clear = trials[organ.radius(trials) > _SPOT_CLEARANCE][:_N_SPOTS]
    return Balls(clear, radii[: len(clear)])


def _direction(generator: np.random.Generator) -> Array:
    vector = generator.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float64)
