"""From scores on the network's grid to a label map on the image's own, a few planes at a time.

A band of planes is resized, reduced to labels and discarded, so memory does not grow with classes times voxels of the
image. Source: method.md section 17.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import LabelMap, Scores, Shape3
from segflow.contracts.case import CaseRecord
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Preparation
from segflow.prediction.threads import map_in_threads
from segflow.volumes.crop import crop, reorder, transpose_spatial
from segflow.volumes.interpolation import Band
from segflow.volumes.labelmaps import label_dtype, pick_labels, probabilities
from segflow.volumes.resample import ScoreGrid, separate_axis

__all__ = ["Keep", "ScoreStream", "assemble", "label_map", "on_network_grid", "probability_slabs"]

Reduced = TypeVar("Reduced")

#: Takes consecutive planes of probabilities, (k, n, y, x).
Keep = Callable[[Scores], None]
#: The channels of a band, (n, y, x) each, one after the other.
_Channels = Iterator[NDArray[np.float32]]

#: New planes per band: few enough for the CPU's caches, enough that few old planes are interpolated twice.
_PLANES = 4
_SLAB_BYTES = 2**26  # of all classes of a band, where they are needed at once


@dataclass(frozen=True, kw_only=True)
class ScoreStream:
    """A configuration's scores of a case.

    Attributes:
        chunks: Consecutive planes (k, n, y, x) of the prepared grid, all of them in order. Read once.
        shape: Shape of the prepared grid.
        preparation: For its spacing and axis order.
        labels: Classes or regions.
        are_probabilities: Rather than logits.
    """

    chunks: Iterable[Scores]
    shape: Shape3
    preparation: Preparation
    labels: Labels
    are_probabilities: bool = False

    def grid(self, record: CaseRecord) -> ScoreGrid:
        """From the prepared grid to the crop of the transposed raw image. Source: method.md section 17."""
        current_mm = self.preparation.spacing_mm
        if self.preparation.dimensions == 2:
            current_mm = (record.spacing_mm[0], *current_mm)
        axis = separate_axis(current_mm, record.spacing_mm, allowed=self.preparation.separate_z)
        return ScoreGrid(shape=self.shape, new_shape=record.shape_after_crop, axis=axis)

    def pick(self, scores: Iterable[NDArray[np.float32]]) -> LabelMap:
        """The labels of one array of scores (n, y, x) per class or region."""
        return pick_labels(scores, self.labels, are_probabilities=self.are_probabilities)

    def probabilities(self, scores: Scores) -> Scores:
        """Scores (k, n, y, x) as probabilities."""
        return scores if self.are_probabilities else probabilities(scores, self.labels)

    def kept_by(self, keep: Keep) -> Iterator[Scores]:
        """The chunks, after `keep` was called with their probabilities."""
        for chunk in self.chunks:
            keep(self.probabilities(chunk))
            yield chunk


def label_map(stream: ScoreStream, record: CaseRecord, *, threads: int, keep: Keep | None = None) -> LabelMap:
    """The labels of a case, in the geometry of its raw image.

    Classes are resized one after the other within a band, and only the highest score is kept.

    Args:
        stream: The scores of one configuration.
        record: The case's.
        threads: Threads that resize, beside the one that predicts.
        keep: Called with the probabilities on the crop of the transposed raw image. The labels do not depend on it.

    Returns:
        (z, y, x), unsigned.

    Source: method.md section 17.
    """
    if keep is None:
        slabs = _resized(stream, record, stream.pick, planes=_PLANES, threads=threads)
    else:
        slabs = _labels_and_probabilities(stream, record, threads, keep)
    return assemble(slabs, record, stream.preparation, stream.labels)


def on_network_grid(record: CaseRecord, preparation: Preparation) -> CaseRecord:
    """The record of a case as if its prepared arrays were the raw image: without a crop, with their own geometry.

    Resampling keeps the extent of the crop, so voxels have the spacing that divides it evenly, which is the plan's but
    for rounding, and centres are moved by half the difference of the voxels' sizes. Source: method.md section 8.
    """
    raw, axes = record.geometry, preparation.transpose_backward
    starts = [record.crop_box[axis][0] for axis in axes]
    scales = [record.shape_after_crop[axis] / record.shape[axis] for axis in axes]
    in_file = slice(None, -raw.file_dimensions - 1, -1)  # x first, without the z of a 2D file
    mm = np.array(raw.file_spacing_mm)
    shift_mm = (np.array(starts) + (np.array(scales) - 1) / 2)[in_file] * mm
    direction = np.reshape(raw.direction, (len(mm), len(mm)))
    geometry = raw.model_copy(
        update={
            "shape": reorder(record.shape, axes),
            "spacing_mm": tuple(np.multiply(raw.spacing_mm, scales).tolist()),
            "file_spacing_mm": tuple((mm * scales[in_file]).tolist()),
            "origin_mm": tuple((raw.origin_mm + direction @ shift_mm).tolist()),
            "nifti_placement": "",
        }
    )
    z, y, x = record.shape
    spacing_mm = reorder(geometry.spacing_mm, preparation.transpose_forward)
    return record.model_copy(
        update={
            "geometry": geometry,
            "shape_before_crop": record.shape,
            "crop_box": ((0, z), (0, y), (0, x)),
            "spacing_mm": spacing_mm,
        }
    )


def probability_slabs(stream: ScoreStream, record: CaseRecord, *, threads: int) -> Iterator[Scores]:
    """Consecutive planes (k, n, y, x) of probabilities, float32, on the crop of the transposed raw image.

    All streams of a case are divided alike.

    Source: method.md section 17; float32 where nnU-Net keeps float16 (section 25, defect 3).
    """
    return map(stream.probabilities, _score_slabs(stream, record, threads))


def assemble(
    slabs: Iterable[LabelMap], record: CaseRecord, preparation: Preparation, labels: Labels
) -> LabelMap:
    """Join planes (n, y, x) of the crop of the transposed raw image; undo the crop and the transposition.

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
        raise ValueError(f"there are {start} planes of labels, but the case has {len(inside)}")
    return np.ascontiguousarray(transpose_spatial(whole, preparation.transpose_backward))


class _PlaneWindow:
    """The most recent planes of a volume that is read in chunks."""

    def __init__(self, chunks: Iterable[Scores]) -> None:
        self._chunks = iter(chunks)
        self._held: deque[tuple[int, Scores]] = deque()  # with the number of its first plane
        self._end = 0

    def take(self, wanted: slice) -> list[Scores]:
        """Consecutive planes, as views (k, n, y, x) of the chunks; earlier ones can no longer be taken.

        Raises:
            ValueError: There are fewer planes.
        """
        while self._held and self._held[0][0] + self._held[0][1].shape[1] <= wanted.start:
            self._held.popleft()
        while self._end < wanted.stop:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise ValueError(f"there are {self._end} planes of scores, but {wanted.stop} are needed")
            self._held.append((self._end, chunk))
            self._end += chunk.shape[1]
        return [
            chunk[:, max(wanted.start - first, 0) : wanted.stop - first]
            for first, chunk in self._held
            if first < wanted.stop
        ]


def _resized(
    stream: ScoreStream,
    record: CaseRecord,
    reduce: Callable[[_Channels], Reduced],
    *,
    planes: int,
    threads: int,
) -> Iterator[Reduced]:
    """Each band of the result, resized channel by channel and reduced, in threads."""
    grid, window = stream.grid(record), _PlaneWindow(stream.chunks)

    def work(job: tuple[Band, list[Scores]]) -> Reduced:
        band, chunks = job
        return reduce(grid.resize(_joined(chunks, i), band) for i in range(stream.labels.n_outputs))

    bands = ((band, window.take(band.old)) for band in grid.bands(planes))
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield from map_in_threads(pool, work, bands, ahead=threads)
    except PredictionError as problem:  # of the network, which does not know the case
        raise PredictionError(f"case {record.identifier}: {problem}") from problem


def _joined(chunks: list[Scores], channel: int) -> NDArray[np.float32]:
    """One channel of chunks, (z, y, x)."""
    return chunks[0][channel] if len(chunks) == 1 else np.concatenate([chunk[channel] for chunk in chunks])


def _labels_and_probabilities(
    stream: ScoreStream, record: CaseRecord, threads: int, keep: Keep
) -> Iterator[LabelMap]:
    for scores in _score_slabs(stream, record, threads):
        keep(stream.probabilities(scores))
        yield stream.pick(scores)


def _score_slabs(stream: ScoreStream, record: CaseRecord, threads: int) -> Iterator[Scores]:
    """Resized scores of all classes at once, (k, n, y, x)."""
    n_outputs = stream.labels.n_outputs
    plane_bytes = n_outputs * int(np.prod(record.shape_after_crop[1:])) * 4
    planes = min(_PLANES, max(1, _SLAB_BYTES // plane_bytes))

    def stacked(channels: _Channels) -> Scores:
        """All channels in one array, with at most one more in memory."""
        first = next(channels)
        scores: Scores = np.empty((n_outputs, *first.shape), np.float32)
        scores[0] = first
        del first  # its memory is needed for the next channel
        for slab in scores[1:]:
            slab[...] = next(channels)
        return scores

    return _resized(stream, record, stacked, planes=planes, threads=threads)
