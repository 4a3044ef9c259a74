"""How scores scatter over cases, and which cases show it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from segflow.contracts.labels import Labels
from segflow.contracts.scores import CaseScores, Summary
from segflow.metrics import nan_mean, target_key

__all__ = ["Spread", "mean_dice", "representative_cases", "spreads"]


@dataclass(frozen=True)
class Spread:
    """Dice of one target over cases.

    Attributes:
        name: Of the target.
        key: As in summary.json.
        mean: Over cases in which Dice is defined; NaN if there are none.
        std: Sample standard deviation (n - 1); NaN for fewer than two cases.
        n: Cases in which Dice is defined.
    """

    name: str
    key: str
    mean: float
    std: float
    n: int


def spreads(summary: Summary, labels: Labels) -> tuple[Spread, ...]:
    """Mean and standard deviation of Dice over cases, for each target.

    Args:
        summary: Scores of all cases.
        labels: Their vocabulary.

    Returns:
        One entry per target, in the order of `labels.targets`.

    Source: ours.
    """
    result = []
    for name, target in zip(labels.target_names, labels.targets, strict=True):
        key = target_key(target)
        dice = np.array([case.metrics[key].dice for case in summary.metric_per_case], dtype=np.float64)
        dice = dice[~np.isnan(dice)]
        std = float(dice.std(ddof=1)) if dice.size > 1 else math.nan
        result.append(Spread(name=name, key=key, mean=nan_mean(dice), std=std, n=int(dice.size)))
    return tuple(result)


def mean_dice(case: CaseScores) -> float:
    """Mean Dice of a case over the targets in which it is defined.

    Args:
        case: Its scores.

    Returns:
        0 to 1, or NaN.

    Source: ours.
    """
    return nan_mean(metrics.dice for metrics in case.metrics.values())


def representative_cases(summary: Summary, n: int = 3) -> tuple[tuple[str, CaseScores], ...]:
    """Choose cases from best to worst, evenly by rank of mean Dice; three are best, median, worst.

    Args:
        summary: Scores of all cases.
        n: How many, at most.

    Returns:
        (rank in words, scores) pairs without repetition; cases without any defined Dice are passed over.

    Source: ours.
    """
    scored = [case for case in summary.metric_per_case if not math.isnan(mean_dice(case))]
    ranked = sorted(scored, key=lambda case: (-mean_dice(case), case.reference_file))
    last = len(ranked) - 1
    wanted = min(n, len(ranked))
    places = [0] if wanted == 1 else [round(i * last / (wanted - 1)) for i in range(wanted)]
    return tuple((_rank(place, last), ranked[place]) for place in places if wanted)


def _rank(place: int, last: int) -> str:
    if place == 0:
        return "best"
    if place == last:
        return "worst"
    return "median" if place == round(last / 2) else f"rank {place + 1} of {last + 1}"
