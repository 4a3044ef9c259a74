"""`segflow summary`: the outcome of an experiment, on the screen."""

from __future__ import annotations

from rich.console import Console

from segflow.commands.arguments import ExperimentFolder
from segflow.commands.outcome import read_outcome, stage_times
from segflow.reporting.terminal import Experiment, terminal_summary


def summary(results: ExperimentFolder) -> None:
    """Show the outcome of an experiment: best model, Dice per class, time per stage, where things are.

    Args:
        results: Folder of one recipe's results on one data set.
    """
    outcome = read_outcome(results)
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
