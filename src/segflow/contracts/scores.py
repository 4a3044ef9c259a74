"""Scores of label maps, and the decisions that rest on them. Source: method.md sections 20, 22, 23."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segflow.contracts.codec import Contract

__all__ = [
    "Candidate",
    "CaseScores",
    "Metrics",
    "Operation",
    "PostProcessing",
    "Selection",
    "Step",
    "Summary",
]


class Metrics(Contract):
    """Overlap of one target in one case, or its mean over cases. NaN where it is undefined.

    Counts are whole numbers of voxels in a case, fractions in a mean.
    """

    dice: float = Field(alias="Dice")
    fn: int | float = Field(alias="FN")
    fp: int | float = Field(alias="FP")
    iou: float = Field(alias="IoU")
    tn: int | float = Field(alias="TN")
    tp: int | float = Field(alias="TP")
    n_pred: int | float
    n_ref: int | float


class CaseScores(Contract):
    """One case: a set of metrics per target, keyed "1" or "(1, 2)"."""

    metrics: dict[str, Metrics]
    prediction_file: str
    reference_file: str


class Summary(Contract):
    """summary.json, in the peer's format."""

    foreground_mean: Metrics
    mean: dict[str, Metrics]
    metric_per_case: tuple[CaseScores, ...]


class Candidate(Contract):
    """A single configuration or a pair, with its out-of-fold score.

    Attributes:
        name: "3d_fullres", or "2d+3d_fullres" for a pair.
        configurations: One or two.
        foreground_mean_dice: NaN if a class occurs nowhere.
        summary: Path of its summary.json, relative to the results folder.
    """

    name: str
    configurations: tuple[str, ...]
    foreground_mean_dice: float
    summary: str


class Selection(Contract):
    """Which candidate was chosen, and against which others."""

    best: Candidate
    candidates: tuple[Candidate, ...]


class Operation(Contract):
    """One post-processing step: keep the largest component of the union of these targets' voxels."""

    name: Literal["keep_largest"]
    labels: tuple[int, ...]


class Step(Contract):
    """One question the post-processing search asked, and its answer."""

    operation: Operation
    target: str
    dice_before: float
    dice_after: float
    accepted: bool


class PostProcessing(Contract):
    """The operations that pay, and the numbers that say so."""

    operations: tuple[Operation, ...]
    steps: tuple[Step, ...]
    foreground_mean_dice_before: float
    foreground_mean_dice_after: float
