"""Scores of label maps, and the decisions based on them. Source: method.md sections 20, 22, 23."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from segflow.contracts.codec import Amount, Contract

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


class _Sparse(Contract):
    """A contract whose entries are left out of the file where they are None."""

    @model_serializer(mode="wrap")
    def _without_none(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in write(self).items() if value is not None}


class Metrics(_Sparse):
    """One target in one case, or its mean over cases. NaN: undefined; None: not requested.

    Counts are whole numbers of voxels in a case, fractions in a mean. Distances are in mm, the difference of volumes
    (predicted less reference) in ml; nnU-Net's format does not have what is requested.
    """

    assd: float | None = Field(default=None, alias="ASSD")
    dice: float = Field(alias="Dice")
    fn: int | float = Field(alias="FN")
    fp: int | float = Field(alias="FP")
    hd95: float | None = Field(default=None, alias="HD95")
    iou: float = Field(alias="IoU")
    lesions: float | None = Field(default=None, alias="LesionF1")
    nsd: float | None = Field(default=None, alias="NSD")
    tn: int | float = Field(alias="TN")
    tp: int | float = Field(alias="TP")
    volume: float | None = Field(default=None, alias="VolumeDifference")
    n_pred: int | float
    n_ref: int | float

    @property
    def requested(self) -> tuple[str, ...]:
        """Fields of the requested metrics."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)


class CaseScores(_Sparse):
    """Metrics of one case per target, with keys such as "1" or "(1, 2)".

    The files are where they were when the case was scored; `file_name` is the case's in any folder. `patient` is whose
    case it is, if that is known.
    """

    metrics: dict[str, Metrics]
    prediction_file: str
    reference_file: str
    patient: str | None = None

    @property
    def file_name(self) -> str:
        """Of its label map, such as "CASE.nii.gz"."""
        return PurePath(self.prediction_file).name


class Summary(_Sparse):
    """summary.json, in nnU-Net's format.

    Attributes:
        foreground_mean: Mean over targets of the means over cases.
        mean: Means over cases, by target.
        nsd_tolerance_mm: Of the normalised surface Dice, if it was requested.
    """

    foreground_mean: Metrics
    mean: dict[str, Metrics]
    metric_per_case: tuple[CaseScores, ...]
    nsd_tolerance_mm: float | None = None

    @property
    def patients(self) -> dict[str, str] | None:
        """By the cases' file names, sorted; None unless all are known."""
        cases = sorted(self.metric_per_case, key=lambda case: case.file_name)
        found = {case.file_name: case.patient for case in cases if case.patient is not None}
        return found if found and len(found) == len(cases) else None


class Candidate(Contract):
    """A configuration ("3d_fullres") or a pair ("2d+3d_fullres"), with its out-of-fold score.

    `summary` is the path of its summary.json, relative to the results folder.
    """

    name: str
    configurations: tuple[str, ...]
    foreground_mean_dice: float
    summary: str


class Resampled(Contract):
    """A candidate over all replicates of a bootstrap.

    Attributes:
        interval: 2.5th and 97.5th percentile of its foreground mean Dice; NaN if it is never defined.
        rank_shares: Share of the replicates in which it ranks first, second, ...
        probability_best: The first of these.
    """

    name: str
    interval: tuple[float, float]
    rank_shares: tuple[float, ...]
    probability_best: float


class Bootstrap(_Sparse):
    """How much the candidates' scores depend on the sample of cases.

    Attributes:
        replicates: Number of samples of the cases, drawn with replacement.
        seed: Of the draw.
        cases: Number of cases.
        patients: Number of patients, if they are known: then these are drawn, each with all of its cases.
        candidates: In the order of those of the selection.
    """

    replicates: int
    seed: int
    cases: int
    patients: int | None = None
    candidates: tuple[Resampled, ...]

    @property
    def units(self) -> str:
        """What is drawn: "cases" or "patients"."""
        return "cases" if self.patients is None else "patients"


class Selection(Contract):
    """The chosen candidate, and all of them.

    Attributes:
        candidates: On a tie the first wins.
        prefer_single_within: Difference in Dice up to which a single configuration is preferred to a pair.
        bootstrap: How certain the choice is; None for imported networks.
    """

    best: Candidate
    candidates: tuple[Candidate, ...]
    prefer_single_within: float = 0.0
    bootstrap: Bootstrap | None = None


class Operation(_Sparse):
    """One post-processing operation on the union of some labels.

    Attributes:
        name: keep_largest (other components become background), remove_small (components below a volume become
            background) or fill_holes (enclosed background gets a label).
        min_volume_mm3: Smallest component that remove_small keeps.
        fill: The label value that fill_holes writes.
    """

    name: Literal["keep_largest", "remove_small", "fill_holes"]
    labels: tuple[int, ...]
    min_volume_mm3: Amount | None = None
    fill: int | None = None

    @property
    def description(self) -> str:
        """Such as "fill holes"."""
        if self.name == "remove_small":
            square, cube = "mm\N{SUPERSCRIPT TWO}", "mm\N{SUPERSCRIPT THREE}"
            return f"remove components below {self.min_volume_mm3:g} {cube} (in flat images, {square})"
        return "keep the largest component" if self.name == "keep_largest" else "fill holes"

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        for name, key in (("remove_small", "min_volume_mm3"), ("fill_holes", "fill")):
            if (getattr(self, key) is not None) != (self.name == name):
                raise ValueError(f"an operation has '{key}' if and only if it is {name}; this is {self.name}")
        return self


class Step(Contract):
    """One operation that the post-processing search tried.

    Attributes:
        target: Whose Dice decides: "foreground" (the mean over targets), or the key of a target.
        dice_before, dice_after: Mean over cases without and with the operation.
        accepted: Whether it is part of the model.
    """

    operation: Operation
    target: str
    dice_before: float
    dice_after: float
    accepted: bool


class PostProcessing(Contract):
    """The accepted operations, and the scores of all that were tried."""

    operations: tuple[Operation, ...]
    steps: tuple[Step, ...]
    foreground_mean_dice_before: float
    foreground_mean_dice_after: float
