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

__all__ = ["average", "averaged_label_map"]


def average(probabilities: Iterable[Scores]) -> Scores:
    """Mean of several networks' probabilities of one case, each (output, z, y, x), float32; summed in this order.

    Two arrays are in memory at a time if `probabilities` is a generator.

    Raises:
        PredictionError: There are none, or their shapes differ.

    Source: method.md section 21.
    """
    total: Scores | None = None
    count = 0
    for array in probabilities:
        if total is None:
            total = np.array(array, dtype=np.float32)
        elif array.shape != total.shape:
            raise PredictionError(
                f"probabilities to average differ in shape: {total.shape} and {array.shape}; "
                "the models must share labels and the images must be the same"
            )
        else:
            total += array
        count += 1
    if total is None:
        raise PredictionError("there are no probabilities to average")
    total /= np.float32(count)
    return total


def averaged_label_map(
    members: Sequence[Iterable[Scores]],
    record: CaseRecord,
    preparation: Preparation,
    labels: Labels,
    keep: Keep | None = None,
) -> LabelMap:
    """The labels of a case, (z, y, x), unsigned, in the geometry of its raw image.

    `members` holds, for each model, consecutive planes (k, n, y, x) of probabilities on the crop of the transposed raw
    image, in groups of the same size for all. `keep` is called with the mean of each group.
    """

    def slabs() -> Iterator[LabelMap]:
        for planes in zip(*members, strict=True):
            mean = average(planes)
            if keep is not None:
                keep(mean)
            yield pick_labels(mean, labels, are_probabilities=True)

    return assemble(slabs(), record, preparation, labels)
