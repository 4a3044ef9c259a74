"""Whether experiments on the same cases differ: paired differences, with intervals and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

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
        mean: Of the differences.
        interval: 2.5th and 97.5th percentile of the mean over resampled cases.
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


def paired_differences(scores: Mapping[str, NDArray[np.float64]]) -> list[PairedDifference]:
    """Compare every pair of experiments.

    Args:
        scores: By experiment, a score per case in the same order; NaN where undefined.

    Returns:
        Pairs in the order given, without those that have no case in common.

    Source: Wilcoxon 1945; Holm 1979; resampled as the candidates of one experiment.
    """
    pairs = []
    for (first, ours), (second, theirs) in combinations(scores.items(), 2):
        differences = ours - theirs
        if (known := differences[~np.isnan(differences)]).size:
            pairs.append((first, second, known))
    values = [float(wilcoxon(known).pvalue) if known.any() else 1.0 for *_, known in pairs]
    return [
        PairedDifference(first, second, known.size, float(known.mean()), _interval(known), p, corrected)
        for (first, second, known), p, corrected in zip(pairs, values, holm(values), strict=True)
    ]


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
