"""From the scores of several configurations to labels.

Apart from `labelling`, which every fold's prediction depends on: a change here predicts no fold again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from segflow.contracts.arrays import LabelMap
from segflow.contracts.case import CaseRecord
from segflow.contracts.labels import Labels
from segflow.prediction.labelling import Keep, as_probabilities, label_map
from segflow.prediction.restore import ScoreStream, assemble, score_slabs
from segflow.selection.average import average
from segflow.volumes.labelmaps import pick_labels

__all__ = ["averaged_label_map"]


def averaged_label_map(
    streams: Sequence[ScoreStream],
    record: CaseRecord,
    labels: Labels,
    *,
    threads: int,
    keep: Keep | None = None,
) -> LabelMap:
    """The labels of a case, in the geometry of its raw image.

    Args:
        streams: One per configuration; the probabilities of several are averaged.
        record: Of the case; all configurations crop it alike.
        labels: Classes or regions.
        threads: That resample, beside the one that predicts.
        keep: Is given the probabilities on the crop of the transposed raw image.

    Returns:
        (z, y, x), unsigned.

    Source: method.md sections 17, 18 and 21.

    """
    if len(streams) == 1:
        return label_map(streams[0], record, labels, threads=threads, keep=keep)
    slabs = _averaged(streams, record, labels, threads, keep or _forget)
    return assemble(slabs, record, streams[0].preparation, labels)


def _averaged(
    streams: Sequence[ScoreStream], record: CaseRecord, labels: Labels, threads: int, keep: Keep
) -> Iterator[LabelMap]:
    slabs = [score_slabs(stream, record, labels, threads=threads) for stream in streams]
    for parts in zip(*slabs, strict=True):
        mean = average(
            as_probabilities(part, stream, labels) for stream, part in zip(streams, parts, strict=True)
        )
        keep(mean)
        yield pick_labels(mean, labels, are_probabilities=True)


def _forget(_planes: object) -> None:
    pass
