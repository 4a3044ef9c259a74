"""Numbers as people read them.

How scores scatter over cases, and which cases show it.
Sentences that keep a reader from trusting numbers too much.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from segflow.contracts.labels import Labels
from segflow.contracts.scores import CaseScores, Summary
from segflow.metrics.overlap import nan_mean, target_key

__all__ = [
    "ABSENT",
    "Spread",
    "cautions",
    "dice_text",
    "duration_text",
    "mean_dice",
    "number_text",
    "percent_text",
    "representative_cases",
    "shape_text",
    "spreads",
]

#: Stands for a number that is not defined.
ABSENT = "\N{EN DASH}"
_MINUTE, _HOUR = 60, 3600


def dice_text(value: float) -> str:
    """A score with three decimals.

    Args:
        value: 0 to 1, or NaN.

    Returns:
        Such as "0.873"; a dash for NaN.
    """
    return ABSENT if math.isnan(value) else f"{value:.3f}"


def percent_text(share: float) -> str:
    """A share in percent; a small one is not rounded away.

    Args:
        share: 0 to 1, or NaN.

    Returns:
        Such as "84 %" or "< 1 %"; a dash for NaN.
    """
    if math.isnan(share):
        return ABSENT
    return "< 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def number_text(value: float) -> str:
    """A number with up to four significant digits, whole if it is large.

    Args:
        value: Any.

    Returns:
        Such as "0.7813", "35", "1204"; a dash for NaN.
    """
    if math.isnan(value):
        return ABSENT
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def shape_text(values: Iterable[float]) -> str:
    """Numbers along axes.

    Args:
        values: One per axis.

    Returns:
        Such as "40 x 56 x 40", with a multiplication sign.
    """
    return " \N{MULTIPLICATION SIGN} ".join(number_text(value) for value in values)


def duration_text(seconds: float) -> str:
    """A time span.

    Args:
        seconds: Zero or more.

    Returns:
        Such as "4.2 s", "3 min 20 s", "1 h 05 min".
    """
    if seconds < _MINUTE - 0.05:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    minutes = round(seconds / _MINUTE)
    return f"{minutes // 60} h {minutes % 60:02d} min"


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
    """
    return nan_mean(metrics.dice for metrics in case.metrics.values())


def representative_cases(summary: Summary, n: int = 3) -> tuple[tuple[str, CaseScores], ...]:
    """Choose cases from best to worst, evenly by rank of mean Dice; three are best, median, worst.

    Args:
        summary: Scores of all cases.
        n: How many, at most.

    Returns:
        (rank in words, scores) pairs without repetition; cases without any defined Dice are passed over.
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


#: Source: method.md section 10.
_FOLDS = 5
#: Below this a standard deviation says little.
_FEW_CASES = 10


def cautions(
    summary: Summary,
    labels: Labels,
    *,
    devices: Collection[str],
    folds: Collection[int],
    epochs: int,
    recipe_epochs: int,
) -> tuple[str, ...]:
    """Say what qualifies the results of a run.

    Args:
        summary: Out-of-fold scores of the best candidate.
        labels: Their vocabulary.
        devices: That networks were trained on, such as "cpu".
        folds: That were run.
        epochs: That networks were trained for.
        recipe_epochs: That the method trains for.

    Returns:
        Sentences; empty for a full run on complete data.
    """
    found = []
    missing = sorted(set(range(_FOLDS)) - set(folds))
    if missing:
        names = ", ".join(map(str, missing))
        found.append(
            f"Only {_FOLDS - len(missing)} of {_FOLDS} folds were run (missing: {names}); the scores cover "
            f"{len(summary.metric_per_case)} cases, and cases of the other folds were never predicted."
        )
    if epochs < recipe_epochs:
        found.append(
            f"Networks were trained for {epochs} of nnU-Net's {recipe_epochs} epochs; "
            "expect better scores from a full training."
        )
    if any(device.startswith("cpu") for device in devices):
        found.append("Networks were trained on a CPU, in single precision throughout.")
    found += [
        f"'{spread.name}' occurs in no scored case, neither annotated nor predicted: it has no Dice "
        "and has no part in any mean."
        for spread in spreads(summary, labels)
        if spread.n == 0
    ]
    if len(summary.metric_per_case) < _FEW_CASES:
        found.append(f"Only {len(summary.metric_per_case)} cases were scored: differences may be chance.")
    return tuple(found)
