"""Weighted sums over the planes that tiles still touch. Source: method.md section 16; the moving window is ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from segflow.contracts.arrays import Scores

__all__ = ["Accumulator", "home_of"]

_FLOAT_BYTES = 4
_PLANES = 8  # that are finished at a time
_GPU_SHARE = 0.5  # of the free memory of a GPU; the network needs the rest


def home_of(shape: Sequence[int], device: str) -> torch.device:
    """Where sums are kept: beside the network if there is room for them, or else in main memory.

    Args:
        shape: Of the sums.
        device: Of the network.

    Source: ours.
    """
    wanted = torch.device(device)
    if wanted.type != "cuda":
        return wanted
    free, _ = torch.cuda.mem_get_info(wanted)
    needed = _FLOAT_BYTES * torch.Size(shape).numel()
    return wanted if needed <= _GPU_SHARE * free else torch.device("cpu")


class Accumulator:
    """Sums of a volume's planes, of which a few are held at a time, from the first to the last."""

    def __init__(self, shape: Sequence[int], device: str) -> None:
        """Begin at the first plane.

        Args:
            shape: (k, n, y, x), n for the planes held.
            device: Of the network.

        Source: ours.
        """
        self.home = home_of(shape, device)
        self.first = 0
        self._total = torch.zeros(tuple(shape), device=self.home)
        self._norm = torch.zeros(tuple(shape[1:]), device=self.home)

    def add(self, tile: tuple[slice, ...], scores: Tensor, weights: Tensor) -> None:
        """Add a tile.

        Args:
            tile: Where it lies in the volume; its planes are held.
            scores: (k, *spatial), on the accumulator's home.
            weights: (*spatial), there as well.

        Source: method.md section 16.
        """
        planes, *inside = tile
        held = (slice(planes.start - self.first, planes.stop - self.first), *inside)
        target = self._total[(slice(None), *held)]
        weight = weights.reshape(target.shape[1:])
        target.addcmul_(scores.reshape(target.shape), weight)
        self._norm[held] += weight

    def finish(self, stop: int) -> Iterator[tuple[int, Scores]]:
        """The means of the planes before one, which no further tile touches; then move on.

        Args:
            stop: Number of the first plane that is not finished.

        Yields:
            Number of the first of some planes, and the planes (k, n, y, x), float32.

        Source: method.md section 16.
        """
        n = stop - self.first
        for start in range(0, n, _PLANES):
            some = slice(start, min(start + _PLANES, n))
            means: Scores = (self._total[:, some] / self._norm[some]).cpu().numpy()
            yield self.first + start, means
        for held in (*self._total, self._norm):  # one by one: a whole copy might not fit
            held[: len(held) - n] = held[n:].clone()
            held[len(held) - n :] = 0
        self.first = stop
