"""The summary of an experiment on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from segflow.contracts.labels import Labels
from segflow.contracts.model import ModelCard
from segflow.contracts.scores import Summary
from segflow.reporting.data import StageTime
from segflow.reporting.text import ABSENT, dice_text, duration_text, spreads

__all__ = ["terminal_summary"]


def terminal_summary(
    card: ModelCard, summary: Summary, labels: Labels, *, folder: Path, stages: Sequence[StageTime] = ()
) -> Group:
    """Best model, Dice per target, time per stage and paths, for a rich console to print.

    Args:
        card: The model package's.
        summary: Out-of-fold scores of the best candidate, after post-processing.
        labels: Classes or regions.
        folder: The experiment's results.
        stages: In the order in which they ran.
    """
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
    sections: list[RenderableType] = [title, *([_dice_table(summary, labels)] if scored else [])]
    sections += [_time_table(stages)] if stages else []
    return Group(*(item for section in (*sections, paths) for item in (Text(), section)), Text())


def _dice_table(summary: Summary, labels: Labels) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("class")
    for name in ("Dice", "std", "cases"):
        table.add_column(name, justify="right")
    for spread in spreads(summary, labels):
        std = dice_text(spread.std)
        shown = std if std == ABSENT else f"\N{PLUS-MINUS SIGN} {std}"
        table.add_row(Text(spread.name), dice_text(spread.mean), shown, str(spread.n))
    return table


def _time_table(stages: Sequence[StageTime]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_footer=True, footer_style="bold")
    table.add_column("stage", footer="total")
    table.add_column("jobs", justify="right", footer=str(sum(stage.jobs for stage in stages)))
    total = sum(stage.seconds for stage in stages)
    table.add_column("time", justify="right", footer=duration_text(total))
    for stage in stages:
        table.add_row(Text(stage.name), str(stage.jobs), duration_text(stage.seconds))
    return table
