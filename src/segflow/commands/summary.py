"""`segflow summary`: the outcome of an experiment, on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from segflow.commands.arguments import ExperimentFolder
from segflow.commands.console import answers
from segflow.commands.outcome import Outcome, read_outcome, stage_times
from segflow.commands.score_table import score_table
from segflow.reporting.data import StageTime
from segflow.reporting.text import dice_text, duration_text


def summary(results: ExperimentFolder) -> None:
    """Show the outcome of an experiment: best model, Dice per class, time per stage, where things are.

    Args:
        results: Folder of one recipe's results on one data set.
    """
    answers.print(terminal_summary(outcome := read_outcome(results), stage_times(outcome)))


def terminal_summary(outcome: Outcome, stages: Sequence[StageTime] = ()) -> Group:
    """Best model, Dice per target, time per stage and paths, for a rich console to print."""
    card, summary, folder = outcome.card, outcome.summary, outcome.folder
    scored = bool(summary.metric_per_case)
    title = Text.assemble(
        (card.dataset, "bold"),
        "  best model: " if scored else "  model: ",
        (card.selection.best.name, "bold green"),
        ", post-processed" if card.postprocessing.operations else "",
        "  out-of-fold Dice: " if scored else "  not scored: trained on all cases",
        (dice_text(summary.foreground_mean.dice) if scored else "", "bold green"),
    )
    paths = Table.grid(padding=(0, 2))
    for name, path in (("model", folder / "model"), ("report", folder / "report.html")):
        paths.add_row(Text(name, style="dim"), Text(str(path), overflow="fold"))
    sections: list[RenderableType] = [
        title,
        *([score_table(summary, outcome.labels, ["dice"])] if scored else []),
    ]
    sections += [_time_table(stages)] if stages else []
    return Group(*(item for section in (*sections, paths) for item in (Text(), section)), Text())


def _time_table(stages: Sequence[StageTime]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_footer=True, footer_style="bold")
    table.add_column("stage", footer="total")
    table.add_column("jobs", justify="right", footer=str(sum(stage.jobs for stage in stages)))
    total = sum(stage.seconds for stage in stages)
    table.add_column("time", justify="right", footer=duration_text(total))
    for stage in stages:
        table.add_row(Text(stage.name), str(stage.jobs), duration_text(stage.seconds))
    return table
