"""`segflow compare`: all experiments of a call in one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.table import Table

from segflow.commands.arguments import ExperimentFolder, ResultFile
from segflow.commands.console import answers
from segflow.commands.outcome import read_outcome
from segflow.reporting.text import mean_dice
from segflow.storage.files import cell_text, write_text

_WORDS = ("dataset", "recipe", "best_model", "post_processing")


def compare(experiments: list[ExperimentFolder], *, output: ResultFile | None = None) -> None:
    """Put several experiments in one table: what was chosen, and its out-of-fold Dice after post-processing.

    Args:
        experiments: Folders of finished experiments: OUTPUT/DATASET/RECIPE.
        output: Write comparison.csv, instead of a table on the screen.
    """
    rows = [_row(folder) for folder in experiments]
    if output is not None:
        cells = [
            {name: cell_text(value) if isinstance(value, str) else value for name, value in row.items()}
            for row in rows
        ]
        write_text(output, pd.DataFrame(cells).to_csv(index=False))
        return
    table = Table(title="comparison")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="left" if name in _WORDS else "right")
    for row in rows:
        table.add_row(*(f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values()))
    answers.print(table)


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
