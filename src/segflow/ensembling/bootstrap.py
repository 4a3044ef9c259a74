"""How much the order of candidates depends on which cases there happened to be: a bootstrap over cases.

A replicate draws as many cases as there are, with replacement, and scores every candidate on the same ones. So what
makes a case hard for all of them cancels out of the comparison.

Source: Efron and Tibshirani 1993 (percentile intervals); ranks over replicates as Wiesenfarth et al. 2021.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.errors import PlanError
from segflow.contracts.scores import Bootstrap, Resampled, Summary

__all__ = ["bootstrap", "replicate_scores"]

#: Source: the customary number; an interval's end is then known to about 0.1 of its half-width.
_REPLICATES = 1000
_SEED = 0
_INTERVAL = (2.5, 97.5)
#: Sums in another order differ in the last bits; scores that agree to so many decimals are a tie. Source: ours.
_DECIMALS = 12


def bootstrap(
    summaries: Mapping[str, Summary], *, replicates: int = _REPLICATES, seed: int = _SEED
) -> Bootstrap:
    """Draw cases anew, again and again, and see how candidates fare.

    In each replicate a candidate's score is what `evaluation.summarise` would give: the mean over targets of the mean
    over cases, what is undefined left out. The highest comes first, and on a tie the earlier candidate; one without a
    score in a replicate has no rank there.

    Args:
        summaries: By candidate, simpler first; all of the same cases.
        replicates: How many.
        seed: Of the draw.

    Returns:
        Interval, shares of ranks, and probability of being best, of every candidate.

    Raises:
        PlanError: The candidates were not scored on the same cases.

    Source: ours, after Wiesenfarth et al. 2021.
    """
    dice = _dice(summaries)
    scores = replicate_scores(dice, replicates=replicates, seed=seed)
    ranks = _rank_shares(scores)
    found = tuple(
        Resampled(
            name=name,
            interval=_interval(scores[i]),
            rank_shares=tuple(ranks[i]),
            probability_best=ranks[i][0],
        )
        for i, name in enumerate(summaries)
    )
    return Bootstrap(replicates=replicates, seed=seed, cases=dice.shape[1], candidates=found)


def replicate_scores(dice: NDArray[np.float64], *, replicates: int, seed: int) -> NDArray[np.float64]:
    """Foreground mean Dice of every candidate in every replicate.

    Args:
        dice: (candidate, case, target); NaN where undefined.
        replicates: How many.
        seed: Of the draw.

    Returns:
        (candidate, replicate); NaN where no target occurs in any drawn case.

    Source: ours.
    """
    cases = dice.shape[1]
    generator = np.random.default_rng(seed)
    times = generator.multinomial(cases, np.full(cases, 1 / cases), size=replicates).astype(np.float64)
    defined = ~np.isnan(dice)
    per_target = _ratio(times @ np.where(defined, dice, 0.0), times @ defined.astype(np.float64))
    occurs = ~np.isnan(per_target)
    total = np.where(occurs, per_target, 0.0).sum(axis=-1)
    return _ratio(total, occurs.sum(axis=-1).astype(np.float64)).round(_DECIMALS)


def _dice(summaries: Mapping[str, Summary]) -> NDArray[np.float64]:
    """(candidate, case, target)."""
    tables = []
    expected: list[str] | None = None
    for name, summary in summaries.items():
        files = sorted(case.reference_file for case in summary.metric_per_case)
        expected = expected or files
        if files != expected:
            odd = sorted(set(files) ^ set(expected)) or ["a case that is there twice"]
            raise PlanError(
                f"candidate {name} was scored on other cases than the first candidate (see {odd[0]}); "
                "a comparison needs the same ones: evaluate all candidates on the same folds"
            )
        cases = sorted(summary.metric_per_case, key=lambda case: case.reference_file)
        tables.append([[case.metrics[key].dice for key in summary.mean] for case in cases])
    return np.array(tables, dtype=np.float64)


def _rank_shares(scores: NDArray[np.float64]) -> list[list[float]]:
    """Share of replicates by candidate and rank."""
    n, replicates = scores.shape
    order = np.argsort(np.where(np.isnan(scores), np.inf, -scores), axis=0, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(n)[:, None], axis=0)
    ranked = ~np.isnan(scores)
    return [(np.bincount(ranks[i][ranked[i]], minlength=n) / replicates).tolist() for i in range(n)]


def _interval(scores: NDArray[np.float64]) -> tuple[float, float]:
    defined = scores[~np.isnan(scores)]
    if not defined.size:
        return math.nan, math.nan
    low, high = np.percentile(defined, _INTERVAL)
    return float(low), float(high)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
    return found
