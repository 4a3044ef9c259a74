"""A bootstrap: data sets resampled from the cases or patients, with replacement. Source: Efron 1979."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["REPLICATES", "SEED", "draw_cases", "interval", "ratio"]

#: The customary number; an interval's end is then known to about 0.1 of its half-width.
REPLICATES = 1000
SEED = 0
_INTERVAL = (2.5, 97.5)


def draw_cases(
    cases: int, patients: Sequence[str] | None = None, *, replicates: int = REPLICATES, seed: int = SEED
) -> NDArray[np.float64]:
    """How often each case is in each resampled data set, (replicate, case).

    Args:
        cases: Their number.
        patients: Whose each case is; patients are drawn then, each with all cases, as these are not independent.
        replicates: Number of data sets.
        seed: Of the draw.

    Source: Davison and Hinkley 1997, section 3.8, for the patients.
    """
    owner = np.arange(cases) if patients is None else np.unique(patients, return_inverse=True)[1]
    n = len(np.unique(owner))
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=replicates)
    return times[:, owner].astype(np.float64)


def interval(scores: NDArray[np.float64]) -> tuple[float, float]:
    """2.5th and 97.5th percentile over replicates, NaN left out; NaN without any."""
    defined = scores[~np.isnan(scores)]
    if not defined.size:
        return math.nan, math.nan
    low, high = np.percentile(defined, _INTERVAL)
    return float(low), float(high)


def ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part by whole; NaN where the whole is 0."""
    found: NDArray[np.float64] = np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
    return found
