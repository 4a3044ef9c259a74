"""Numbers as text, Dice per case, and warnings about the results."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from segflow.contracts.labels import Labels
from segflow.contracts.model import NetworkCard
from segflow.contracts.plan import Configuration, FoldName
from segflow.contracts.scores import CaseScores, Summary
from segflow.metrics.overlap import nan_mean, target_key
from segflow.recipes.training import TrainingRecipe

__all__ = [
    "ABSENT",
    "FEW_CASES",
    "SHOWN_RANKS",
    "cautions",
    "change_text",
    "dice_text",
    "duration_text",
    "listed",
    "mean_dice",
    "number_text",
    "percent_text",
    "representative_cases",
    "shape_text",
    "worst_targets",
]

#: Stands for a number that is not defined.
ABSENT = "\N{EN DASH}"
#: Cases that the page shows without being asked.
SHOWN_RANKS = ("best", "median", "worst")
_MINUTE, _HOUR = 60, 3600
#: With fewer cases, a standard deviation or a rank says little.
FEW_CASES = 10


def dice_text(value: float) -> str:
    """A score with three decimals, such as "0.873"; a dash for NaN."""
    return ABSENT if math.isnan(value) else f"{value:.3f}"


def change_text(change: float) -> str:
    """A difference of scores with its sign, such as "+0.0100"; a dash for NaN."""
    return ABSENT if math.isnan(change) else f"{change:+.4f}".replace("-", "\N{MINUS SIGN}")


def percent_text(share: float) -> str:
    """A share (0 to 1) in percent, such as "84 %" or "< 1 %"; a dash for NaN."""
    if math.isnan(share):
        return ABSENT
    return "< 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def number_text(value: float) -> str:
    """A number with up to four significant digits, whole if it is large, such as "0.7813"; a dash for NaN."""
    if math.isnan(value):
        return ABSENT
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def shape_text(values: Iterable[float]) -> str:
    """Numbers along axes, with multiplication signs in between, such as "40 x 56 x 40"."""
    return " \N{MULTIPLICATION SIGN} ".join(number_text(value) for value in values)


def listed(names: Iterable[str]) -> str:
    """Names in a sentence: "a", "a and b", "a, b and c"."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def duration_text(seconds: float) -> str:
    """A time span, such as "4.2 s", "3 min 20 s", "1 h 05 min"."""
    if seconds < _MINUTE - 0.05:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    minutes = round(seconds / _MINUTE)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def mean_dice(case: CaseScores) -> float:
    """Mean Dice of a case over the targets in which it is defined; NaN if it is in none."""
    return nan_mean(metrics.dice for metrics in case.metrics.values())


def representative_cases(summary: Summary, n: int = 5) -> tuple[tuple[str, CaseScores], ...]:
    """Choose the n best cases by mean Dice, the n around the median, and the n worst.

    Returns:
        (rank in words, scores) pairs, best first, without repetition; cases without any defined Dice are left out.
    """
    scored = [case for case in summary.metric_per_case if not math.isnan(mean_dice(case))]
    ranked = sorted(scored, key=lambda case: (-mean_dice(case), case.file_name))
    last = len(ranked) - 1
    middle = round(last / 2) - (n - 1) // 2
    places = {*range(n), *range(middle, middle + n), *range(last - n + 1, last + 1)}
    return tuple((_rank(place, last), ranked[place]) for place in sorted(places & set(range(len(ranked)))))


def worst_targets(case: CaseScores, labels: Labels, n: int = 2) -> list[int]:
    """Places of up to n targets that occur in a case, annotated or predicted, lowest Dice first; all if none occurs."""
    dice = [case.metrics[target_key(target)].dice for target in labels.targets]
    occurring = [i for i, value in enumerate(dice) if not math.isnan(value)] or range(len(dice))
    return sorted(occurring, key=lambda i: dice[i])[:n]


def _rank(place: int, last: int) -> str:
    best, median, worst = SHOWN_RANKS
    names = {round(last / 2): median, last: worst, 0: best}
    return names.get(place, f"rank {place + 1} of {last + 1}")


def cautions(
    summary: Summary,
    labels: Labels,
    *,
    networks: Collection[NetworkCard],
    planned: Mapping[str, Configuration],
    folds: Collection[FoldName],
    n_folds: int,
) -> tuple[str, ...]:
    """Sentences that qualify the results of a run; none for a full run on complete data.

    Args:
        summary: Out-of-fold scores of the best candidate.
        labels: Classes or regions.
        networks: All that were trained.
        planned: Configurations by name.
        folds: Those that were run.
        n_folds: Folds that the data set has.
    """
    found = []
    n_cases = len(summary.metric_per_case)
    missing = sorted(set(range(n_folds)) - set(folds))
    if not n_cases:
        found.append(
            "Networks were trained on all cases, so none could be scored: how good they are is not known, the "
            "configuration was not compared with others, and no post-processing was searched for."
        )
    elif missing:
        found.append(
            f"Only {n_folds - len(missing)} of {n_folds} folds were run (missing: {', '.join(map(str, missing))}); "
            f"the scores cover {n_cases} cases, and cases of the other folds were never predicted."
        )
    full = TrainingRecipe()
    lengths = [(network.epochs, network.iterations or full.iterations) for network in networks]
    epochs, steps = min(lengths, default=(full.epochs, full.iterations))
    if epochs * steps < full.epochs * full.iterations:
        found.append(
            f"Networks were trained for {epochs} epochs of {steps} {'step' if steps == 1 else 'steps'}, nnU-Net's for "
            f"{full.epochs} of {full.iterations}; expect better scores from a full training."
        )
    found += _overrides(networks, planned)
    if any(network.device.startswith("cpu") for network in networks):
        found.append("Networks were trained on a CPU, in single precision throughout.")
    found += [
        f"'{name}' occurs in no scored case, neither annotated nor predicted: it has no Dice "
        "and is not part of any mean."
        for name, target in zip(labels.target_names, labels.targets, strict=True)
        if n_cases and math.isnan(summary.mean[target_key(target)].dice)
    ]
    if 0 < n_cases < FEW_CASES:
        found.append(f"Only {n_cases} cases were scored: differences may be due to chance.")
    return tuple(found)


def _overrides(networks: Iterable[NetworkCard], planned: Mapping[str, Configuration]) -> list[str]:
    """What was not trained as planned, once per configuration."""
    found = []
    for trained in {network.configuration.name: network.configuration for network in networks}.values():
        plan = planned[trained.name]
        values = {
            "batch size": (trained.batch_size, plan.batch_size, "training.batch_size"),
            "number of features of the first stage": (
                trained.architecture.features[0],
                plan.architecture.features[0],
                "training.base_width",
            ),
        }
        found += [
            f"{trained.name}: the {name} was {used}, set by {key}, in place of the plan's {wanted}."
            for name, (used, wanted, key) in values.items()
            if used != wanted
        ]
    return found
