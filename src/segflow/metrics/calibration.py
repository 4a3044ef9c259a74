"""Calibration: whether what gets a probability of 80 % is right in 80 % of the cases.

Per class (or region), each voxel has a forecast: the probability that it belongs to the class. Voxels are put into ten
bins, (0, 0.1], (0.1, 0.2], ..., (0.9, 1]; those of the stored probability 0 are counted apart. The reliability curve
is the share of a bin's voxels that the reference gives to the class, over their mean probability; the expected
calibration error is the mean over the bins of the distance between these two, weighted by the bins' voxels.

Voxels of probability 0 are nearly all of an image, and nearly always right: with them the error of a small class is
close to 0 whatever the network does. So it is given without them, and with them beside it (where they are in the first
bin). What is left out is decided by the prediction alone, so that no bin is biased.

Source: Naeini et al. 2015 (expected calibration error), per class as in Nixon et al. 2019; bins as those of
`sklearn.calibration.calibration_curve`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import LabelMap, Scores
from segflow.contracts.labels import Labels, members
from segflow.metrics.bootstrap import ratio

__all__ = ["BINS", "absent_counts", "calibration_error", "count_calibration"]

BINS = 10
#: Probabilities are stored as bytes; the mean of two has half steps.
_LEVELS = 2 * 255
_PER_BIN = _LEVELS // BINS


def count_calibration(probabilities: Scores, reference: LabelMap, labels: Labels) -> NDArray[np.int64]:
    """Count the annotated voxels in each bin.

    Args:
        probabilities: (outputs, z, y, x), whole or half multiples of 1/255.
        reference: (z, y, x) of the same place.
        labels: Classes, of which the first output is the background, or regions.

    Returns:
        (target, 1 + BINS, 3): for probability 0 and each bin the voxels, the sum of their probabilities in 510ths, and
        those that belong to the target.
    """
    annotated = reference != (-1 if labels.ignore is None else labels.ignore)
    table = np.zeros((len(labels.targets), 1 + BINS, 3), dtype=np.int64)
    for number, target in enumerate(labels.targets):
        p = probabilities[number if labels.has_regions else members(target)[0]]
        positive = np.isin(reference, members(target))
        chosen = annotated & (p > 0)
        levels = np.rint(p[chosen] * _LEVELS).astype(np.int64)
        by_level = np.stack(
            [np.bincount(some, minlength=_LEVELS + 1) for some in (levels, levels[positive[chosen]])]
        )
        weighted = np.stack([by_level[0], by_level[0] * np.arange(_LEVELS + 1), by_level[1]])
        table[number, 1:] = weighted[:, 1:].reshape(3, BINS, _PER_BIN).sum(axis=2).T
        rest = annotated & ~chosen
        table[number, 0] = rest.sum(), 0, (positive & rest).sum()
    return table


def absent_counts(reference: LabelMap, labels: Labels) -> NDArray[np.int64]:
    """The table of `count_calibration` of a map to which every class and region has the probability 0."""
    voxels = [int(np.count_nonzero(reference == value)) for value in labels.values]
    table = np.zeros((len(labels.targets), 1 + BINS, 3), dtype=np.int64)
    for number, target in enumerate(labels.targets):
        table[number, 0] = sum(voxels), 0, sum(voxels[value] for value in members(target))
    return table


def calibration_error(table: NDArray[np.float64], *, with_zero: bool = False) -> NDArray[np.float64]:
    """Expected calibration error of tables (..., 1 + BINS, 3) as of `count_calibration`; NaN without voxels.

    Args:
        table: Summed over cases.
        with_zero: Voxels of probability 0 count, in the first bin.
    """
    bins = table[..., 1:, :].astype(np.float64)
    if with_zero:
        bins[..., 0, :] += table[..., 0, :]
    distances = np.abs(bins[..., 1] / _LEVELS - bins[..., 2]).sum(axis=-1)
    voxels = bins[..., 0].sum(axis=-1)
    return ratio(distances, voxels)
