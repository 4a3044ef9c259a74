"""What a run ends with on the terminal."""

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

__all__ = ["Closing", "closing_summary"]


@dataclass(frozen=True, kw_only=True)
class Closing:
    """What is worth saying at the end.

    Attributes:
        dataset: Name of the data set.
        best: Name of the chosen candidate.
        labels: Classes or regions.
        summary: Its out-of-fold scores, as delivered.
        package: Where the model package is.
        report: Where the report is.
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


def closing_summary(closing: Closing) -> Group:
    """Lay out the end of a run.

    Args:
        closing: What to say.

    Returns:
        Something that a rich console can print.
    """
    suffix = ", post-processed" if closing.postprocessed else ""
    title = Text.assemble(
        (closing.dataset, "bold"),
        "  best model: ",
        (closing.best, "bold green"),
        f"{suffix}  out-of-fold Dice: ",
        (dice_text(closing.summary.foreground_mean.dice), "bold green"),
    )
    paths = Table.grid(padding=(0, 2))
    paths.add_row(Text("model", style="dim"), Text(str(closing.package), overflow="fold"))
    paths.add_row(Text("report", style="dim"), Text(str(closing.report), overflow="fold"))
    parts: list[RenderableType] = [
        title,
        _dice_table(closing),
        *([_time_table(closing)] if closing.stages else []),
        paths,
    ]
    return Group(*(item for part in parts for item in (Text(), part)), Text())


def _dice_table(closing: Closing) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("class")
    for name in ("Dice", "std", "cases"):
        table.add_column(name, justify="right")
    for spread in spreads(closing.summary, closing.labels):
        std = dice_text(spread.std)
        shown = std if std == ABSENT else f"\N{PLUS-MINUS SIGN} {std}"
        table.add_row(Text(spread.name), dice_text(spread.mean), shown, str(spread.n))
    return table


def _time_table(closing: Closing) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_footer=True, footer_style="bold")
    total = sum(stage.seconds for stage in closing.stages)
    table.add_column("stage", footer="total")
    table.add_column("jobs", justify="right", footer=str(sum(stage.jobs for stage in closing.stages)))
    table.add_column("time", justify="right", footer=duration_text(total))
    for stage in closing.stages:
        table.add_row(Text(stage.name), str(stage.jobs), duration_text(stage.seconds))
    return table
