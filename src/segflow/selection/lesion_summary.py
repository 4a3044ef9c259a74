"""Lesions of all cases together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.assessment import Estimate, LesionSizes, LesionSummary, SizeGroup
from segflow.selection.bootstrap import interval, ratio

__all__ = ["comes_in_components", "sum_up_lesions"]

#: Share of the cases with the class, from which on it is one that comes in components.
_SHARE_OF_CASES = 0.5


def comes_in_components(cases: Sequence[LesionSizes]) -> bool:
    """Whether the reference has two or more components in at least half of the cases in which it has any."""
    counts = np.array([sum(n for _, n, _ in case.reference) for case in cases])
    occurring = counts[counts > 0]
    return bool(occurring.size) and bool((occurring > 1).mean() >= _SHARE_OF_CASES)


def sum_up_lesions(cases: Sequence[LesionSizes], times: NDArray[np.float64], unit: str) -> LesionSummary:
    """Detection rate, precision, F1 and false positives per case: ratios of sums over the cases.

    Args:
        cases: One per case.
        times: How often each is in a replicate of the bootstrap, (replicate, case).
        unit: Of the sizes.
    """
    counts = np.array(
        [
            (
                sum(n for _, n, _ in one.reference),
                sum(f for _, _, f in one.reference),
                sum(n for _, n in one.false_positives),
            )
            for one in cases
        ],
        dtype=np.float64,
    )
    n_all, found, false_positives = counts.T

    def estimate(part: NDArray[np.float64], whole: NDArray[np.float64]) -> Estimate:
        value = float(ratio(part.sum(keepdims=True), whole.sum(keepdims=True))[0])
        return Estimate(
            value=value,
            interval=interval(ratio(times @ part, times @ whole)),
            n=int((whole > 0).sum()),
            std=math.nan,
        )

    return LesionSummary(
        cases=len(cases),
        lesions=int(n_all.sum()),
        predicted=int((found + false_positives).sum()),
        detection_rate=estimate(found, n_all),
        precision=estimate(found, found + false_positives),
        f1=estimate(2 * found, n_all + found + false_positives),
        false_positives_per_case=estimate(false_positives, np.ones(len(cases))),
        unit=unit,
        sizes=_groups(cases),
    )


def _groups(cases: Sequence[LesionSizes]) -> tuple[SizeGroup, ...]:
    """Four groups of sizes, bounded by the quartiles of the reference's; fewer where these coincide."""
    reference = np.array([row for case in cases for row in case.reference], dtype=np.float64).reshape(-1, 3)
    false_positives = np.array(
        [row for case in cases for row in case.false_positives], dtype=np.float64
    ).reshape(-1, 2)
    sizes = np.repeat(reference[:, 0], reference[:, 1].astype(int))
    bounds = np.unique(np.percentile(sizes, (25, 50, 75), method="inverted_cdf"))
    places = np.searchsorted(bounds, reference[:, 0], side="right")
    wrong = np.searchsorted(bounds, false_positives[:, 0], side="right")
    groups = []
    for place in range(len(bounds) + 1):
        n, found = reference[places == place, 1:].sum(axis=0)
        false = false_positives[wrong == place, 1].sum()
        if not (n or false):
            continue
        groups.append(
            SizeGroup(
                low=float(bounds[place - 1]) if place else None,
                high=float(bounds[place]) if place < len(bounds) else None,
                lesions=int(n),
                found=int(found),
                detection_rate=found / n if n else math.nan,
                false_positives=int(false),
                false_positives_per_case=false / len(cases),
            )
        )
    return tuple(groups)
