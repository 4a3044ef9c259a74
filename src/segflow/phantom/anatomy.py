"""What a phantom case shows: ellipsoids and blobs in millimetres, drawn before anything is rendered.

Coordinates are millimetres from the middle of the body, along z, y, x of the body. Every case is drawn from
the same distributions, so that a network can learn them; the distractors have the intensity of the organ or
of the lesion but another shape and other neighbours, so that intensity alone does not do.

From an anatomy in millimetres to masks on a voxel grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from segflow.contracts.arrays import Mask, Shape3, SpacingMm

__all__ = [
    "Anatomy",
    "Blob",
    "Ellipsoid",
    "Structures",
    "coordinates_mm",
    "draw_anatomy",
    "half_extent_mm",
    "render",
    "smooth_field",
]

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


Vector = NDArray[np.float64]

_BODY_MM = (20.5, 25.0, 22.0)
_ORGAN_MM = (10.0, 12.0, 10.0)
_ORGAN_CENTRE_MM = (0.0, -6.5, 4.0)
_ROD_MM = (12.5, 3.8, 3.8)
_ROD_CENTRES_MM = ((0.0, 13.0, -8.0), (1.0, 14.0, 6.0))
_SIZE_JITTER = 0.1  # share of every semi-axis
_TILT_DEG = 12.0
_LESION_DEPTH = (0.55, 0.95)  # of the way from the organ's middle to its surface
_LESION_LOBES = (3, 6)  # at least, less than
_LOBE_MM = (2.3, 3.6)
_LOBE_OFFSET_MM = 3.4
_SPOT_MM = (2.2, 3.0)
_N_SPOTS = 3
_N_SPOT_TRIALS = 64
_SPOT_REACH = 0.75  # of the body's semi-axes
_SPOT_CLEARANCE = 1.6  # in the organ's semi-axes


@dataclass(frozen=True)
class Ellipsoid:
    """Middle and semi-axes in millimetres, and the rotation (3, 3) of its axes."""

    centre_mm: Vector
    semi_axes_mm: Vector
    axes: NDArray[np.float64]


@dataclass(frozen=True)
class Blob:
    """Lobes that melt into one body: middles (n, 3) and radii (n,) in millimetres."""

    centres_mm: NDArray[np.float64]
    radii_mm: NDArray[np.float64]


@dataclass(frozen=True)
class Anatomy:
    """All structures of a case.

    Attributes:
        rotation: (3, 3), from the body's axes to those of the image.
        body: Everything else lies inside.
        organ: Class 1, less what the lesion covers.
        lesion: Class 2, in or at the organ.
        rods: Background with the organ's intensity: elongated.
        spots: Background with the lesion's intensity: round, away from the organ.
    """

    rotation: NDArray[np.float64]
    body: Ellipsoid
    organ: Ellipsoid
    lesion: Blob
    rods: tuple[Ellipsoid, ...]
    spots: Blob


def draw_anatomy(generator: np.random.Generator) -> Anatomy:
    """Draw the structures of one case.

    Args:
        generator: Where all randomness comes from.

    Returns:
        The structures.
    """
    body = Ellipsoid(np.zeros(3), _jittered(_BODY_MM, generator), np.eye(3))
    organ = Ellipsoid(
        np.array(_ORGAN_CENTRE_MM) + generator.uniform(-1.5, 1.5, 3),
        _jittered(_ORGAN_MM, generator),
        _tilt(generator),
    )
    rods = tuple(
        Ellipsoid(
            np.array(centre) + generator.uniform(-1.5, 1.5, 3),
            _jittered(_ROD_MM, generator),
            _tilt(generator),
        )
        for centre in _ROD_CENTRES_MM
    )
    lesion = _draw_lesion(organ, generator)
    spots = _draw_spots(body, organ, generator)
    return Anatomy(_tilt(generator), body, organ, lesion, rods, spots)


def _jittered(semi_axes_mm: tuple[float, float, float], generator: np.random.Generator) -> Vector:
    return np.array(semi_axes_mm) * generator.uniform(1 - _SIZE_JITTER, 1 + _SIZE_JITTER, 3)


def _tilt(generator: np.random.Generator) -> NDArray[np.float64]:
    angles_deg = generator.uniform(-_TILT_DEG, _TILT_DEG, 3)
    return np.asarray(Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix(), dtype=np.float64)


def _draw_lesion(organ: Ellipsoid, generator: np.random.Generator) -> Blob:
    depth = generator.uniform(*_LESION_DEPTH)
    centre = organ.centre_mm + organ.axes @ (depth * organ.semi_axes_mm * _direction(generator))
    n_lobes = int(generator.integers(*_LESION_LOBES))
    offsets = np.stack([_LOBE_OFFSET_MM * _direction(generator) for _ in range(n_lobes)])
    return Blob(centre + offsets, generator.uniform(*_LOBE_MM, n_lobes))


def _draw_spots(body: Ellipsoid, organ: Ellipsoid, generator: np.random.Generator) -> Blob:
    trials = np.stack([_direction(generator) for _ in range(_N_SPOT_TRIALS)])
    trials = trials * body.semi_axes_mm * generator.uniform(0.4, _SPOT_REACH, (_N_SPOT_TRIALS, 1))
    radii = generator.uniform(*_SPOT_MM, _N_SPOTS)
    in_organ_axes = (trials - organ.centre_mm) @ organ.axes / organ.semi_axes_mm
    clear = trials[np.linalg.norm(in_organ_axes, axis=1) > _SPOT_CLEARANCE][:_N_SPOTS]
    return Blob(clear, radii[: len(clear)])


def _direction(generator: np.random.Generator) -> Vector:
    vector = generator.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float64)
