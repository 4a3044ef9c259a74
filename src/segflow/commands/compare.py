"""`segflow compare`: all experiments of a call in one table, and how sure their differences are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from segflow.commands.arguments import ExperimentFolder, ResultFile
from segflow.commands.console import answers
from segflow.commands.outcome import Outcome, read_outcome
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.scores import CaseScores
from segflow.images.formats import label_ending
from segflow.reporting.figures import draw_comparison
from segflow.reporting.table import csv_text
from segflow.reporting.text import listed, mean_dice
from segflow.selection.choose import bootstrap
from segflow.selection.paired import PairedDifference, paired_differences
from segflow.storage.files import write_text
from segflow.storage.folders import write_folder

_WORDS = ("dataset", "recipe", "best_model", "post_processing")


@dataclass(frozen=True)
class _Group:
    """Experiments that were scored on the same cases, by name."""

    dataset: str
    cases: tuple[str, ...]
    outcomes: Mapping[str, Outcome]

    @property
    def scores(self) -> dict[str, list[float]]:
        """Mean Dice of each case, in the order of `cases`."""
        return {
            name: [mean_dice(case) for case in _scored(outcome).values()]
            for name, outcome in self.outcomes.items()
        }

    @property
    def differences(self) -> list[PairedDifference]:
        """Of every pair."""
        return paired_differences(
            {name: np.array(values) for name, values in self.scores.items()}, self.patients
        )

    @property
    def patients(self) -> list[str] | None:
        """Of the cases, if they are known to the first experiment."""
        scored = _scored(next(iter(self.outcomes.values()))).values()
        found = [case.patient for case in scored if case.patient is not None]
        return found if len(found) == len(scored) else None


def compare(experiments: list[ExperimentFolder], *, output: ResultFile | None = None) -> None:
    """Put several experiments in one table: what was chosen, and its out-of-fold Dice after post-processing.

    Args:
        experiments: Folders of finished experiments: OUTPUT/DATASET/RECIPE.
        output: Write comparison.csv, instead of a table on the screen, and into the folder comparison beside it paired
            differences of experiments with the same cases, their ranks in resampled cases, and a figure.

    Raises:
        ConfigurationError: The file's name has no ending, or the folder is there and is no comparison's.
    """
    outcomes = [read_outcome(folder) for folder in experiments]
    rows = [_row(outcome) for outcome in outcomes]
    if output is not None:
        beside = output.with_suffix("")
        if beside == output:
            raise ConfigurationError(f"--output: {output} has no ending; name it {output}.csv")
        write_folder(beside, _files(outcomes))
        write_text(output, csv_text(rows))
        return
    table = Table(title="comparison")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="left" if name in _WORDS else "right")
    for row in rows:
        table.add_row(*(f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values()))
    answers.print(table)


def _row(outcome: Outcome) -> dict[str, str | int | float]:
    card, summary = outcome.card, outcome.summary
    spread = pd.Series([mean_dice(case) for case in summary.metric_per_case]).std()
    return {
        "dataset": outcome.of_dataset.name,
        "recipe": card.recipe,
        "best_model": card.selection.best.name,
        "cases": len(summary.metric_per_case),
        "mean_dice": summary.foreground_mean.dice,
        "std_over_cases": float(spread),
        "candidates": len(card.selection.candidates),
        "post_processing": "yes" if card.postprocessing.operations else "no",
    }


def _files(outcomes: Sequence[Outcome]) -> dict[str, str | bytes]:
    """Of the folder, by path."""
    groups = _groups(outcomes)
    compared = [group for group in groups if len(group.outcomes) > 1 and group.cases]
    files: dict[str, str | bytes] = {"notes.txt": "\n".join(_notes(groups)) + "\n"}
    if compared:
        tables = {"differences": _differences, "ranks": _ranks, "cases": _cases}
        for name, rows in tables.items():
            files[f"tables/{name}.csv"] = csv_text([row for group in compared for row in rows(group)])
        drawn = [
            (
                g.dataset,
                {name: list(zip(g.cases, dice, strict=True)) for name, dice in g.scores.items()},
                [(f"{d.first} \N{MINUS SIGN} {d.second}", d.mean, d.interval, True) for d in g.differences],
            )
            for g in compared
        ]
        files["figures/comparison.svg"] = draw_comparison(drawn)
    return files


def _groups(outcomes: Sequence[Outcome]) -> list[_Group]:
    """Experiments by data set, classes and cases; a second one of the same recipe gets a number."""
    alike = defaultdict[tuple[Any, ...], dict[str, Outcome]](dict)
    for outcome in outcomes:
        names = tuple(_scored(outcome))
        found = alike[outcome.card.dataset, outcome.labels.target_names, outcome.labels.targets, names]
        recipe, number = outcome.card.recipe, 1
        while recipe in found:
            number += 1
            recipe = f"{outcome.card.recipe} ({number})"
        found[recipe] = outcome
    return [_Group(dataset, cases, found) for (dataset, *_, cases), found in alike.items()]


def _scored(outcome: Outcome) -> dict[str, CaseScores]:
    """Cases by name, sorted by it."""
    ending = label_ending(str(outcome.description["file_ending"]))
    cases = {case.file_name.removesuffix(ending): case for case in outcome.summary.metric_per_case}
    return dict(sorted(cases.items()))


def _notes(groups: Sequence[_Group]) -> Iterator[str]:
    """What was compared, and what could not be."""
    for group in groups:
        names, n = listed(group.outcomes), len(group.cases)
        if not n:
            yield f"{group.dataset}: {names} cannot be compared, as no case was held out."
        elif len(group.outcomes) > 1:
            units, each = ("patients", "patient by patient") if group.patients else ("cases", "case by case")
            yield (
                f"{group.dataset}: {names} were compared on the same {n} cases. Differences are those of the mean "
                f"Dice over classes, {each}; intervals are of 95 %, over 1000 samples of the {units}, drawn with "
                "replacement; p values are of Wilcoxon's signed-rank test, two-sided, corrected by Holm's method "
                "for the number of pairs; of equal ranks, the experiment named first has the better one."
            )
        else:
            yield (
                f"{group.dataset}: {names} cannot be paired, as no other experiment of this call was scored on the "
                f"same classes and the same {n} cases."
            )


def _differences(group: _Group) -> Iterator[dict[str, Any]]:
    for found in group.differences:
        yield {
            "dataset": group.dataset,
            "first": found.first,
            "second": found.second,
            "cases": found.cases,
            "mean difference": found.mean,
            "interval from": found.interval[0],
            "interval to": found.interval[1],
            "p": found.p,
            "p corrected": found.p_holm,
        }


def _ranks(group: _Group) -> Iterator[dict[str, Any]]:
    """Of the mean Dice over classes, in resampled cases, as of the candidates of one experiment."""
    ranked = bootstrap({name: outcome.summary for name, outcome in group.outcomes.items()})
    for one in ranked.candidates:
        yield {
            "dataset": group.dataset,
            "experiment": one.name,
            "mean dice": group.outcomes[one.name].summary.foreground_mean.dice,
            "interval from": one.interval[0],
            "interval to": one.interval[1],
            **{f"share of rank {n}": share for n, share in enumerate(one.rank_shares, 1)},
        }


def _cases(group: _Group) -> Iterator[dict[str, Any]]:
    columns = group.scores
    for i, case in enumerate(group.cases):
        yield {"dataset": group.dataset, "case": case} | {
            f"dice {name}": dice[i] for name, dice in columns.items()
        }
