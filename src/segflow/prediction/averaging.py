"""The label map of several models: the mean of their probabilities, reduced to labels. Source: method.md section 21.

Kept apart from what a single model needs, so that a change here re-runs no fold's prediction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from segflow.contracts.arrays import LabelMap, Scores
from segflow.contracts.case import CaseRecord
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Preparation
from segflow.prediction.restore import Keep, assemble
from segflow.volumes.labelmaps import pick_labels

__all__ = ["averaged_label_map"]


def averaged_label_map(
    members: Sequence[Iterable[Scores]],
    record: CaseRecord,
    preparation: Preparation,
    labels: Labels,
    keep: Keep | None = None,
) -> LabelMap:
    """The labels of a case, (z, y, x), unsigned, in the geometry of its raw image.

    `members` holds, for each model, consecutive planes (k, n, y, x) of probabilities on the crop of the transposed raw
    image, in groups of the same size for all. `keep` is called with the mean of each group, float32.

    Raises:
        PredictionError: Their shapes differ.
    """

    def slabs() -> Iterator[LabelMap]:
        for planes in zip(*members, strict=True):
            if len({one.shape for one in planes}) > 1:
                raise PredictionError(
                    f"probabilities to average differ in shape: {' and '.join(str(one.shape) for one in planes)}; "
                    "the models must share labels and the images must be the same"
                )
            mean = np.mean(planes, axis=0)
            if keep is not None:
                keep(mean)
            yield pick_labels(mean, labels, are_probabilities=True)

    return assemble(slabs(), record, preparation, labels)
