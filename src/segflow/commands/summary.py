"""`segflow summary`: the outcome of an experiment, on the screen."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from segflow.commands.outcome import read_outcome, stage_times
from segflow.reporting.terminal import Experiment, terminal_summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("results", type=Path, help="folder of one recipe's results on one data set")


def run(options: argparse.Namespace) -> None:
    """Best model, Dice per class with its spread, time per stage, where things are."""
    outcome = read_outcome(options.results)
    experiment = Experiment(
        dataset=outcome.card.dataset,
        best=outcome.card.selection.best.name,
        labels=outcome.labels,
        summary=outcome.summary,
        package=outcome.folder / "model",
        report=outcome.folder / "report.html",
        stages=stage_times(outcome.folder),
        postprocessed=bool(outcome.card.postprocessing.operations),
    )
    Console().print(terminal_summary(experiment))
