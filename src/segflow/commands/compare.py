"""`segflow compare`: all experiments of a call in one table."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from segflow.commands.outcome import read_outcome
from segflow.reporting.text import mean_dice
from segflow.storage.files import write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "experiments", type=Path, nargs="+", help="folders of finished experiments: OUTPUT/DATASET/RECIPE"
    )
    parser.add_argument("--output", type=Path, help="comparison.csv, instead of the screen")


def run(options: argparse.Namespace) -> None:
    """One row per experiment: what was chosen, and its out-of-fold Dice after post-processing."""
    rows = [_row(folder) for folder in options.experiments]
    read = ("model/model.json", "final/summary.json")
    options.also_read = [folder / name for folder in options.experiments for name in read]
    if options.output is not None:
        write_text(options.output, pd.DataFrame(rows).to_csv(index=False))
        return
    table = Table(title="comparison")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="left" if name in _WORDS else "right")
    for row in rows:
        table.add_row(*(f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)


_WORDS = ("dataset", "recipe", "best_model", "post_processing")


def _row(folder: Path) -> dict[str, str | int | float]:
    outcome = read_outcome(folder)
    card, summary = outcome.card, outcome.summary
    spread = pd.Series([mean_dice(case) for case in summary.metric_per_case]).std()
    return {
        "dataset": folder.parent.name,
        "recipe": card.recipe,
        "best_model": card.selection.best.name,
        "cases": len(summary.metric_per_case),
        "mean_dice": summary.foreground_mean.dice,
        "std_over_cases": float(spread),
        "candidates": len(card.selection.candidates),
        "post_processing": "yes" if card.postprocessing.operations else "no",
    }
