"""The summary of an experiment on the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from segflow.contracts.labels import Labels
from segflow.contracts.scores import Summary
from segflow.reporting.data import StageTime
from segflow.reporting.text import ABSENT, dice_text, duration_text, spreads

__all__ = ["Experiment", "terminal_summary"]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What the summary shows.

    Attributes:
        dataset: Name of the data set.
        best: Name of the chosen candidate.
        labels: Classes or regions.
        summary: Its out-of-fold scores, after post-processing.
        package: Folder of the model package.
        report: File of the report.
        stages: In the order in which they ran.
        postprocessed: Whether operations were accepted.
    """

    dataset: str
    best: str
    labels: Labels
    summary: Summary
    package: Path
    report: Path
    stages: tuple[StageTime, ...] = ()
    postprocessed: bool = False


def terminal_summary(experiment: Experiment) -> Group:
    """Best model, Dice per target, time per stage and paths, for a rich console to print."""
    title = Text.assemble(
        (experiment.dataset, "bold"),
        "  best model: ",
        (experiment.best, "bold green"),
        f"{', post-processed' if experiment.postprocessed else ''}  out-of-fold Dice: ",
        (dice_text(experiment.summary.foreground_mean.dice), "bold green"),
    )
    paths = Table.grid(padding=(0, 2))
    paths.add_row(Text("model", style="dim"), Text(str(experiment.package), overflow="fold"))
    paths.add_row(Text("report", style="dim"), Text(str(experiment.report), overflow="fold"))
    sections: list[RenderableType] = [
        title,
        _dice_table(experiment),
        *([_time_table(experiment.stages)] if experiment.stages else []),
        paths,
    ]
    return Group(*(item for section in sections for item in (Text(), section)), Text())


def _dice_table(experiment: Experiment) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("class")
    for name in ("Dice", "std", "cases"):
        table.add_column(name, justify="right")
    for spread in spreads(experiment.summary, experiment.labels):
        std = dice_text(spread.std)
        shown = std if std == ABSENT else f"\N{PLUS-MINUS SIGN} {std}"
        table.add_row(Text(spread.name), dice_text(spread.mean), shown, str(spread.n))
    return table


def _time_table(stages: tuple[StageTime, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_footer=True, footer_style="bold")
    table.add_column("stage", footer="total")
    table.add_column("jobs", justify="right", footer=str(sum(stage.jobs for stage in stages)))
    total = sum(stage.seconds for stage in stages)
    table.add_column("time", justify="right", footer=duration_text(total))
    for stage in stages:
        table.add_row(Text(stage.name), str(stage.jobs), duration_text(stage.seconds))
    return table
