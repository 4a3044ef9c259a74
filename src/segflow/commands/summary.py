"""`segflow summary`: the outcome of an experiment, on the screen."""

from __future__ import annotations

from segflow.commands.arguments import ExperimentFolder
from segflow.commands.console import answers
from segflow.commands.outcome import read_outcome, stage_times
from segflow.reporting.terminal import terminal_summary


def summary(results: ExperimentFolder) -> None:
    """Show the outcome of an experiment: best model, Dice per class, time per stage, where things are.

    Args:
        results: Folder of one recipe's results on one data set.
    """
    outcome = read_outcome(results)
    stages = stage_times(outcome.folder)
    answers.print(
        terminal_summary(outcome.card, outcome.summary, outcome.labels, folder=outcome.folder, stages=stages)
    )
