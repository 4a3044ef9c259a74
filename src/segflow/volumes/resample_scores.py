"""Linear resizing of logits or probabilities, some planes of the result at a time.

Source: method.md sections 8.3, 17.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import Shape3
from segflow.volumes.banded import resize_depth, resize_planes
from segflow.volumes.interpolation import Band, bands

__all__ = ["ScoreGrid"]

_LINEAR, _NEAREST = 1, 0


@dataclass(frozen=True, kw_only=True)
class ScoreGrid:
    """From which grid to which.

    Attributes:
        shape: Old voxels.
        new_shape: New voxels.
        axis: Axis to treat apart: nearest neighbour along it (`separate_axis`), or None.
    """

    shape: Shape3
    new_shape: Shape3
    axis: int | None

    @property
    def _orders(self) -> tuple[int, int, int]:
        z, y, x = (_NEAREST if axis == self.axis else _LINEAR for axis in range(3))
        return z, y, x

    def bands(self, planes: int) -> tuple[Band, ...]:
        """Groups of new planes, and the old planes that each is made from.

        Args:
            planes: New planes per group.

        Returns:
            In order; they cover the first axis.

        Source: ours.
        """
        return bands(self.shape[0], self.new_shape[0], self._orders[0], planes)

    def resize(self, planes: NDArray[Any], band: Band) -> NDArray[np.float32]:
        """The new planes of a group, of one channel.

        Args:
            planes: The group's old planes, (z, y, x), any floating-point type.
            band: The group.

        Returns:
            (z', y', x'), float32; the planes themselves if nothing changes.

        Source: method.md sections 8.3, 17.
        """
        return resize_planes(resize_depth(planes, band), self.new_shape[1:], self._orders[1:])
