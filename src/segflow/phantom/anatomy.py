"""What a phantom case shows: ellipsoids and blobs in millimetres, drawn before anything is rendered.

Coordinates are millimetres from the middle of the body, along z, y, x of the body. Every case is drawn from
the same distributions, so that a network can learn them; the distractors have the intensity of the organ or
of the lesion but another shape and other neighbours, so that intensity alone does not do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

__all__ = ["Anatomy", "Blob", "Ellipsoid", "draw_anatomy"]

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

    Source: ours.
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
