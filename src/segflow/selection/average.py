"""Mean of probabilities."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from segflow.contracts.arrays import Scores
from segflow.contracts.errors import PredictionError

__all__ = ["average"]


def average(probabilities: Iterable[Scores]) -> Scores:
    """Mean of several networks' probabilities of one case.

    Two arrays are in memory at a time if `probabilities` is a generator.

    Args:
        probabilities: Each float32, (output, z, y, x); summed in this order.

    Returns:
        float32, (output, z, y, x).

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
