"""Whether experiments on the same cases differ: paired differences, with intervals and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from segflow.metrics.bootstrap import draw_cases, interval

__all__ = ["PairedDifference", "holm", "paired_differences"]


@dataclass(frozen=True)
class PairedDifference:
    """Scores of one experiment minus those of another, case by case.

    Attributes:
        first, second: Their names.
        cases: In which both are defined.
        mean: Of the differences; where patients are known, of their means over each patient's cases.
        interval: 2.5th and 97.5th percentile of the mean over resampled cases or patients.
        p: Of Wilcoxon's signed-rank test, two-sided; 1 if no case differs.
        p_holm: The same, corrected for the number of pairs.
    """

    first: str
    second: str
    cases: int
    mean: float
    interval: tuple[float, float]
    p: float
    p_holm: float


def paired_differences(
    scores: Mapping[str, NDArray[np.float64]], patients: Sequence[str] | None = None
) -> list[PairedDifference]:
    """Compare every pair of experiments.

    Args:
        scores: By experiment, a score per case in the same order; NaN where undefined.
        patients: Whose each case is, if that is known: cases of one patient count as one, as they are not independent.

    Returns:
        Pairs in the order given, without those that have no case in common.

    Source: Wilcoxon 1945; Holm 1979; resampled as the candidates of one experiment.
    """
    pairs = []
    for (first, ours), (second, theirs) in combinations(scores.items(), 2):
        differences = ours - theirs
        defined = ~np.isnan(differences)
        if defined.any():
            owners = np.flatnonzero(defined) if patients is None else np.asarray(patients)[defined]
            pairs.append((first, second, int(defined.sum()), _means(differences[defined], owners)))
    values = [float(wilcoxon(known).pvalue) if known.any() else 1.0 for *_, known in pairs]
    return [
        PairedDifference(first, second, n, float(known.mean()), _interval(known), p, corrected)
        for (first, second, n, known), p, corrected in zip(pairs, values, holm(values), strict=True)
    ]


def _means(values: NDArray[np.float64], owners: NDArray[Any]) -> NDArray[np.float64]:
    """One value per owner, in their order."""
    _, numbers, counts = np.unique(owners, return_inverse=True, return_counts=True)
    return np.bincount(numbers, weights=values) / counts


def _interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    return interval(draw_cases(differences.size) @ differences / differences.size)


def holm(values: Sequence[float]) -> list[float]:
    """P values corrected for their number m: the k-th smallest of m, times m - k + 1. Source: Holm 1979."""
    p = np.asarray(values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in corrected]
