"""Candidates for the best model, the choice among them, and how certain it is: a bootstrap over cases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.errors import PlanError
from segflow.contracts.plan import in_order
from segflow.contracts.scores import Bootstrap, Candidate, Resampled, Selection, Summary
from segflow.metrics.bootstrap import REPLICATES, SEED, draw_cases, interval, ratio

__all__ = [
    "bootstrap",
    "candidate_members",
    "candidate_name",
    "replicate_scores",
    "select",
    "unscored_choice",
]


def candidate_name(configurations: Sequence[str]) -> str:
    """The name of a candidate of one or two configurations, such as "3d_fullres" or "2d+3d_fullres"."""
    return "+".join(configurations)


def candidate_members(configurations: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """The configurations of each candidate: each alone, then each pair, in the order that settles ties.

    The planner's configurations come in its order, whatever the order given; others follow in theirs.

    Source: method.md section 22.
    """
    names = in_order(configurations)
    return (*((name,) for name in names), *combinations(names, 2))


def select(
    candidates: Sequence[Candidate], *, prefer_single_within: float = 0.0, bootstrap: Bootstrap | None = None
) -> Selection:
    """Choose the candidate with the highest foreground mean Dice, or a simpler one that is nearly as good.

    On a tie the earlier one wins, so candidates are given in the order of `candidate_members`: simpler first.
    A candidate whose score is NaN never wins. There is no significance test.

    Args:
        candidates: With their out-of-fold scores.
        prefer_single_within: Of the candidates within this distance of the highest score, those of the fewest
            configurations are preferred, and of these the highest.
        bootstrap: Uncertainty of their order, stored with the choice, which does not depend on it.

    Raises:
        PlanError: No candidate has a score.

    Source: method.md section 22, except for NaN and the preference.
    """
    scored = [c for c in candidates if not math.isnan(c.foreground_mean_dice)]
    if not scored:
        names = ", ".join(c.name for c in candidates) or "none"
        raise PlanError(
            f"no candidate has a score (candidates: {names}): "
            "no class occurs in any reference or prediction; check that the training labels are not all background"
        )
    best = max(scored, key=lambda c: c.foreground_mean_dice)
    if prefer_single_within > 0:
        lowest = best.foreground_mean_dice - prefer_single_within
        near = [c for c in scored if c.foreground_mean_dice >= lowest]
        best = max(near, key=lambda c: (-len(c.configurations), c.foreground_mean_dice))
    return Selection(
        best=best,
        candidates=tuple(candidates),
        prefer_single_within=prefer_single_within,
        bootstrap=bootstrap,
    )


def unscored_choice(configurations: Iterable[str]) -> str:
    """The configuration to use where no case is held out: 3d_fullres, which nnU-Net recommends, or else the simplest.

    A cascade is no choice there: it would learn from predictions of cases that its first stage was trained on.
    """
    names = in_order(configurations)
    return "3d_fullres" if "3d_fullres" in names else names[0]


#: Sums in another order differ in the last bits; scores that agree to this many decimals are a tie.
_DECIMALS = 12


def bootstrap(summaries: Mapping[str, Summary]) -> Bootstrap:
    """Rank the candidates on data sets resampled from the cases, with the scores that `summarise` would give.

    On a tie the earlier candidate ranks first; one without a score in a replicate has no rank in it.

    Args:
        summaries: By candidate, simpler first; all of the same cases.

    Raises:
        PlanError: The candidates were not scored on the same cases.

    Source: after Wiesenfarth et al. 2021.
    """
    dice = _dice(summaries)
    known = next((summary.patients for summary in summaries.values()), None)
    patients = None if known is None else list(known.values())
    times = draw_cases(dice.shape[1], patients)
    scores = replicate_scores(dice, times)
    ranks = _rank_shares(scores)
    found = tuple(
        Resampled(name=name, interval=interval(own), rank_shares=tuple(shares), probability_best=shares[0])
        for name, own, shares in zip(summaries, scores, ranks, strict=True)
    )
    return Bootstrap(
        replicates=REPLICATES,
        seed=SEED,
        cases=dice.shape[1],
        patients=None if patients is None else len(set(patients)),
        candidates=found,
    )


def replicate_scores(dice: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Foreground mean Dice of every candidate in every replicate.

    Args:
        dice: (candidate, case, target); NaN where undefined.
        times: How often each case is in each replicate, (replicate, case).

    Returns:
        (candidate, replicate); NaN where no target occurs in any drawn case.
    """
    defined = ~np.isnan(dice)
    per_target = ratio(times @ np.where(defined, dice, 0.0), times @ defined.astype(np.float64))
    occurs = ~np.isnan(per_target)
    total = np.where(occurs, per_target, 0.0).sum(axis=-1)
    return ratio(total, occurs.sum(axis=-1).astype(np.float64)).round(_DECIMALS)


def _dice(summaries: Mapping[str, Summary]) -> NDArray[np.float64]:
    """(candidate, case, target)."""
    tables = []
    expected: list[str] | None = None
    for name, summary in summaries.items():
        files = sorted(case.file_name for case in summary.metric_per_case)
        expected = expected or files
        if files != expected:
            odd = sorted(set(files) ^ set(expected)) or ["a case that occurs twice"]
            raise PlanError(
                f"candidate {name} was scored on other cases than the first candidate (see {odd[0]}); "
                "a comparison needs the same ones: evaluate all candidates on the same folds"
            )
        cases = sorted(summary.metric_per_case, key=lambda case: case.file_name)
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
