"""Scores of label maps, and the decisions that rest on them. Source: method.md sections 20, 22, 23."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from segflow.contracts.codec import Contract

__all__ = [
    "Bootstrap",
    "Candidate",
    "CaseScores",
    "Metrics",
    "Operation",
    "PostProcessing",
    "Resampled",
    "Selection",
    "Step",
    "Summary",
]

Volume = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Sparse(Contract):
    """A contract whose optional entries are left out of the file where they were not asked for."""

    @model_serializer(mode="wrap")
    def _without_none(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in write(self).items() if value is not None}


class Metrics(_Sparse):
    """One target in one case, or its mean over cases. NaN where it is undefined, None where it was not asked for.

    Counts are whole numbers of voxels in a case, fractions in a mean; distances are in mm. The peer has no distances:
    they are further keys of its format.
    """

    assd: float | None = Field(default=None, alias="ASSD")
    dice: float = Field(alias="Dice")
    fn: int | float = Field(alias="FN")
    fp: int | float = Field(alias="FP")
    hd95: float | None = Field(default=None, alias="HD95")
    iou: float = Field(alias="IoU")
    nsd: float | None = Field(default=None, alias="NSD")
    tn: int | float = Field(alias="TN")
    tp: int | float = Field(alias="TP")
    n_pred: int | float
    n_ref: int | float

    @property
    def asked(self) -> tuple[str, ...]:
        """Names of the metrics that were asked for; a name is a field's."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)


class CaseScores(Contract):
    """One case: a set of metrics per target, keyed "1" or "(1, 2)"."""

    metrics: dict[str, Metrics]
    prediction_file: str
    reference_file: str


class Summary(_Sparse):
    """summary.json, in the peer's format.

    Attributes:
        foreground_mean: Mean over targets of the means over cases.
        mean: Means over cases, by target.
        metric_per_case: All cases.
        nsd_tolerance_mm: Of the normalised surface Dice, where it was asked for.
    """

    foreground_mean: Metrics
    mean: dict[str, Metrics]
    metric_per_case: tuple[CaseScores, ...]
    nsd_tolerance_mm: float | None = None


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


class Resampled(Contract):
    """A candidate over all replicates of a bootstrap.

    Attributes:
        name: Of the candidate.
        interval: 2.5th and 97.5th percentile of its foreground mean Dice; NaN if it never had one.
        rank_shares: Share of the replicates in which it came first, second, ...
        probability_best: The first of them.
    """

    name: str
    interval: tuple[float, float]
    rank_shares: tuple[float, ...]
    probability_best: float


class Bootstrap(Contract):
    """How much the scores of candidates depend on which cases there happened to be.

    Attributes:
        replicates: Data sets that were drawn from the cases, with replacement.
        seed: Of the draw.
        cases: How many there are.
        candidates: In the order of the selection's.
    """

    replicates: int
    seed: int
    cases: int
    candidates: tuple[Resampled, ...]


class Selection(Contract):
    """Which candidate was chosen, and against which others.

    Attributes:
        best: The chosen one.
        candidates: All, in the order that settles ties.
        prefer_single_within: Dice that a simpler model may lack of the highest.
        bootstrap: How certain the choice is; nothing for networks that came from elsewhere.
    """

    best: Candidate
    candidates: tuple[Candidate, ...]
    prefer_single_within: float = 0.0
    bootstrap: Bootstrap | None = None


class Operation(_Sparse):
    """One post-processing step on the union of some labels' voxels.

    Attributes:
        name: keep_largest: other components become background; remove_small: components below a volume do;
            fill_holes: enclosed background gets a label.
        labels: Label values whose union is meant.
        min_volume_mm3: Of a component that remove_small keeps.
        fill: The label value that fill_holes writes.
    """

    name: Literal["keep_largest", "remove_small", "fill_holes"]
    labels: tuple[int, ...]
    min_volume_mm3: Volume | None = None
    fill: int | None = None

    @property
    def words(self) -> str:
        """What it does, as a person would say it."""
        if self.name == "remove_small":
            return f"remove components below {self.min_volume_mm3:g} mm\N{SUPERSCRIPT THREE}"
        return {"keep_largest": "keep the largest component", "fill_holes": "fill holes"}[self.name]

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        for name, key in (("remove_small", "min_volume_mm3"), ("fill_holes", "fill")):
            if (getattr(self, key) is not None) != (self.name == name):
                raise ValueError(f"an operation has '{key}' if and only if it is {name}; this is {self.name}")
        return self


class Step(Contract):
    """One question the post-processing search asked, and its answer.

    Attributes:
        operation: What was tried.
        target: Whose Dice decides: "foreground" (the mean over targets), or the key of one.
        dice_before: Mean over cases.
        dice_after: The same with the operation.
        accepted: Whether it is a part of the model now.
    """

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
