"""A bootstrap over cases: data sets resampled from the cases, with replacement. Source: Efron 1979."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["REPLICATES", "SEED", "draw_cases", "interval", "ratio"]

#: The customary number; an interval's end is then known to about 0.1 of its half-width.
REPLICATES = 1000
SEED = 0
_INTERVAL = (2.5, 97.5)


def draw_cases(cases: int, *, replicates: int = REPLICATES, seed: int = SEED) -> NDArray[np.float64]:
    """How often each case is in each resampled data set, (replicate, case)."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(cases, np.full(cases, 1 / cases), size=replicates).astype(np.float64)


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
