"""What the report is made from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Plan
from segflow.contracts.scores import PostProcessing, Selection, Summary

__all__ = ["History", "Overlay", "ReportData", "StageTime"]


@dataclass(frozen=True)
class History:
    """One training run, epoch by epoch; columns of equal length.

    Attributes:
        configuration: Its name.
        fold: Which cases were held out.
        epochs: Their numbers.
        train_loss: Mean over the epoch's steps.
        validation_loss: The same on held-out patches.
        pseudo_dice: Mean over targets, on held-out patches.
        ema_pseudo_dice: Its exponential moving average.
    """

    configuration: str
    fold: int
    epochs: tuple[float, ...]
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    pseudo_dice: tuple[float, ...]
    ema_pseudo_dice: tuple[float, ...]

    @classmethod
    def from_rows(
        cls, configuration: str, fold: int, rows: Iterable[Mapping[str, str | float | None]]
    ) -> History:
        """Take the columns that are drawn from the rows of training.csv.

        Args:
            configuration: Its name.
            fold: Which cases were held out.
            rows: One per epoch, keyed by column; numbers may be text, and an empty cell is NaN.

        Returns:
            The columns.
        """
        table = list(rows)

        def column(name: str) -> tuple[float, ...]:
            return tuple(_number(row.get(name)) for row in table)

        return cls(
            configuration=configuration,
            fold=fold,
            epochs=column("epoch"),
            train_loss=column("train_loss"),
            validation_loss=column("validation_loss"),
            pseudo_dice=column("mean_pseudo_dice"),
            ema_pseudo_dice=column("ema_pseudo_dice"),
        )


@dataclass(frozen=True)
class Overlay:
    """A picture of one case.

    Attributes:
        case: Its identifier.
        rank: Such as "best".
        mean_dice: Over targets.
        png: The picture, from `draw_overlay`.
        note: What is seen, such as "slice 12 of 40".
    """

    case: str
    rank: str
    mean_dice: float
    png: bytes
    note: str = ""


@dataclass(frozen=True)
class StageTime:
    """Time spent on one stage, summed over its jobs."""

    name: str
    seconds: float
    jobs: int = 1


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything on the page.

    Attributes:
        dataset: Name of the data set.
        labels: Classes or regions.
        channel_names: In channel order.
        file_ending: With its dot; cut from file names to name the cases.
        fingerprint: Of the data set.
        plan: All its configurations.
        selection: The candidates and the best.
        summary: Out-of-fold scores of the best candidate as delivered: after post-processing, if operations
            were accepted.
        candidate_summaries: Out-of-fold scores by candidate name, for the per-target columns; may lack some.
        postprocessing: What the search asked, and the answers.
        histories: One per configuration and fold.
        overlays: In the order shown.
        stages: In the order in which they ran.
        provenance: (what, value) pairs: versions, device, seed, settings.
        warnings: Sentences that qualify the results.

    """

    dataset: str
    labels: Labels
    channel_names: tuple[str, ...]
    file_ending: str
    fingerprint: Fingerprint
    plan: Plan
    selection: Selection
    summary: Summary
    postprocessing: PostProcessing
    candidate_summaries: Mapping[str, Summary] = field(default_factory=dict)
    histories: tuple[History, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    stages: tuple[StageTime, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


def _number(cell: str | float | None) -> float:
    return math.nan if cell is None or cell == "" else float(cell)
