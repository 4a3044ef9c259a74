"""Types of arrays: axis order and units.

Axes are named as in SimpleITK's array view: z is the slowest spatial axis, x the fastest. A 2D image is a volume with
z = 1. After planning, arrays are in *transposed* order (the axis of coarsest spacing first); z, y, x then mean first,
second, third.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Image", "LabelMap", "Mask", "Scores", "Shape3", "SpacingMm", "Voxels", "lengths_text"]

#: Intensities, float32, (channel, z, y, x).
Image = NDArray[np.float32]
#: Label values, any integer type, (z, y, x). -1 marks voxels outside the non-zero mask.
LabelMap = NDArray[np.integer[Any]]
#: Booleans, (z, y, x).
Mask = NDArray[np.bool_]
#: Logits or probabilities, float32, (output, z, y, x).
Scores = NDArray[np.float32]
#: Voxel coordinates, (n, 3), columns z, y, x.
Voxels = NDArray[np.integer[Any]]
#: Voxels along z, y, x.
Shape3 = tuple[int, int, int]
#: Millimetres between voxel centres along z, y, x.
SpacingMm = tuple[float, float, float]


def lengths_text(values: Iterable[float]) -> str:
    """Lengths along axes, such as "3 x 0.5 x 0.5"."""
    return " x ".join(f"{value:g}" for value in values)
