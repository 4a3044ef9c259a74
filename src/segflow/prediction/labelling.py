"""From a configuration's scores to labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from segflow.contracts.arrays import LabelMap, Scores
from segflow.contracts.case import CaseRecord
from segflow.contracts.labels import Labels
from segflow.prediction.restore import ScoreStream, assemble, label_slabs, score_slabs
from segflow.volumes.labelmaps import pick_labels, probabilities

__all__ = ["Keep", "as_probabilities", "label_map"]

#: Takes consecutive planes of probabilities, (k, n, y, x).
Keep = Callable[[Scores], None]


def label_map(
    stream: ScoreStream, record: CaseRecord, labels: Labels, *, threads: int, keep: Keep | None = None
) -> LabelMap:
    """The labels of a case, in the geometry of its raw image.

    Args:
        stream: Of one configuration.
        record: Of the case.
        labels: Classes or regions.
        threads: That resample, beside the one that predicts.
        keep: Is given the probabilities on the crop of the transposed raw image. The labels do not depend on it.

    Returns:
        (z, y, x), unsigned.

    Source: method.md section 17.
    """
    if keep is None:
        slabs = label_slabs(stream, record, labels, threads=threads)
    else:
        slabs = _kept(stream, record, labels, threads, keep)
    return assemble(slabs, record, stream.preparation, labels)


def as_probabilities(scores: Scores, stream: ScoreStream, labels: Labels) -> Scores:
    """Planes of a stream's scores as probabilities. Source: method.md section 17."""
    return scores if stream.are_probabilities else probabilities(scores, labels)


def _kept(
    stream: ScoreStream, record: CaseRecord, labels: Labels, threads: int, keep: Keep
) -> Iterator[LabelMap]:
    for scores in score_slabs(stream, record, labels, threads=threads):
        keep(as_probabilities(scores, stream, labels))
        yield pick_labels(scores, labels, are_probabilities=stream.are_probabilities)
