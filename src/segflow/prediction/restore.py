"""From scores on the network's grid to a label map on the image's own, a few planes at a time.

What is in memory at once does not grow with classes times voxels of the image: a band of planes is resized, reduced to
labels, and forgotten. Source: method.md section 17; in bands: ours.

Planes of scores that arrive one after the other, and the few that are needed at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import LabelMap, Scores, Shape3
from segflow.contracts.case import CaseRecord
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Preparation
from segflow.volumes.crop import crop, transpose_spatial
from segflow.volumes.interpolation import Band
from segflow.volumes.labelmaps import label_dtype, pick_labels
from segflow.volumes.resample import ScoreGrid, separate_axis

__all__ = [
    "PlaneWindow",
    "ScoreStream",
    "assemble",
    "in_threads",
    "joined",
    "label_slabs",
    "score_slabs",
]

Item = TypeVar("Item")
Result = TypeVar("Result")


class PlaneWindow:
    """The last planes of a volume that comes in chunks."""

    def __init__(self, chunks: Iterable[Scores]) -> None:
        self._chunks = iter(chunks)
        self._held: deque[tuple[int, Scores]] = deque()  # with the number of its first plane
        self._end = 0

    def take(self, wanted: slice) -> list[Scores]:
        """Consecutive planes, as views; earlier ones are forgotten.

        Args:
            wanted: Must not begin before an earlier call's planes.

        Returns:
            Pieces (k, n, y, x) that make up the planes.

        Raises:
            ValueError: The chunks end before.
        """
        while self._held and self._held[0][0] + self._held[0][1].shape[1] <= wanted.start:
            self._held.popleft()
        while self._end < wanted.stop:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise ValueError(f"{self._end} planes of scores came, but plane {wanted.stop - 1} is needed")
            self._held.append((self._end, chunk))
            self._end += chunk.shape[1]
        return [
            chunk[:, max(wanted.start - first, 0) : wanted.stop - first]
            for first, chunk in self._held
            if first < wanted.stop
        ]


def joined(pieces: list[Scores], channel: int) -> NDArray[np.float32]:
    """One channel of pieces, (z, y, x)."""
    return pieces[0][channel] if len(pieces) == 1 else np.concatenate([piece[channel] for piece in pieces])


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Iterator[Result]:
    """The function's values in the items' order; at most one item more than there are threads is under way.

    Args:
        function: Releases the interpreter for most of its time, as numpy does.
        items: Taken by the caller's own thread.
        threads: At least 1.

    Yields:
        One value per item.
    """
    under_way: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            under_way.append(pool.submit(function, item))
            if len(under_way) > threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


_PLANES = (
    4  # new planes per band: few enough for a processor's caches, enough that few old planes are mixed twice
)
_SLAB_BYTES = 2**26  # of all classes of a band, where they are needed at once


@dataclass(frozen=True, kw_only=True)
class ScoreStream:
    """A configuration's scores of a case.

    Attributes:
        chunks: Consecutive planes (k, n, y, x) of the prepared grid, all of them in order. Read once.
        shape: Of the prepared grid.
        preparation: For its spacing and axis order.
        are_probabilities: Rather than logits.
    """

    chunks: Iterable[Scores]
    shape: Shape3
    preparation: Preparation
    are_probabilities: bool = False

    def grid(self, record: CaseRecord) -> ScoreGrid:
        """From here to the crop of the transposed raw image. Source: method.md section 17."""
        current_mm = self.preparation.spacing_mm
        if self.preparation.dimensions == 2:
            current_mm = (record.spacing_mm[0], *current_mm)
        axis = separate_axis(current_mm, record.spacing_mm)
        return ScoreGrid(shape=self.shape, new_shape=record.shape_after_crop, axis=axis)


def label_slabs(
    stream: ScoreStream, record: CaseRecord, labels: Labels, *, threads: int = 1
) -> Iterator[LabelMap]:
    """Resize scores and reduce them to labels, class by class within a band.

    Args:
        stream: The scores.
        record: Of the case.
        labels: Classes or regions.
        threads: That resize, beside the one that makes the scores.

    Yields:
        Consecutive planes (n, y, x) of the crop of the transposed raw image.

    Source: method.md section 17.
    """
    grid, window = stream.grid(record), PlaneWindow(stream.chunks)

    def reduced(work: tuple[Band, list[Scores]]) -> LabelMap:
        band, pieces = work
        resized = (grid.resize(joined(pieces, channel), band) for channel in range(labels.n_outputs))
        return pick_labels(resized, labels, are_probabilities=stream.are_probabilities)

    yield from in_threads(
        reduced, ((band, window.take(band.old)) for band in grid.bands(_PLANES)), threads=threads
    )


def score_slabs(
    stream: ScoreStream, record: CaseRecord, labels: Labels, *, threads: int = 1
) -> Iterator[Scores]:
    """Resize scores, all classes together. Bands are the same for all streams of a case.

    Args:
        stream: The scores.
        record: Of the case.
        labels: Classes or regions.
        threads: That resize, beside the one that makes the scores.

    Yields:
        Consecutive planes (k, n, y, x), float32, of the crop of the transposed raw image.

    Source: method.md section 17; float32 where the peer keeps float16 (section 25, defect 3).
    """
    grid, window = stream.grid(record), PlaneWindow(stream.chunks)
    plane_bytes = labels.n_outputs * int(np.prod(record.shape_after_crop[1:])) * 4
    planes = min(_PLANES, max(1, _SLAB_BYTES // plane_bytes))

    def resized(work: tuple[Band, list[Scores]]) -> Scores:
        band, pieces = work
        shape = (band.new.stop - band.new.start, *grid.new_shape[1:])
        out: NDArray[np.float32] = np.empty((labels.n_outputs, *shape), np.float32)
        for channel, slab in enumerate(out):
            slab[...] = grid.resize(joined(pieces, channel), band)
        return out

    yield from in_threads(
        resized, ((band, window.take(band.old)) for band in grid.bands(planes)), threads=threads
    )


def assemble(
    slabs: Iterable[LabelMap], record: CaseRecord, preparation: Preparation, labels: Labels
) -> LabelMap:
    """Put planes together, undo the crop and the transposition.

    Args:
        slabs: Consecutive planes (n, y, x) of the crop of the transposed raw image.
        record: Of the case.
        preparation: For the axis order.
        labels: Classes or regions.

    Returns:
        (z, y, x), unsigned, of the raw image's shape and axis order.

    Raises:
        ValueError: There are fewer planes than the case has.

    Source: method.md section 17.

    """
    whole = np.zeros(record.shape_before_crop, label_dtype(labels))
    inside, start = crop(whole, record.crop_box), 0
    for slab in slabs:
        inside[start : start + len(slab)] = slab
        start += len(slab)
    if start != len(inside):
        raise ValueError(f"{start} planes of labels came, but the case has {len(inside)}")
    return np.ascontiguousarray(transpose_spatial(whole, preparation.transpose_backward))
