"""The data of the report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from segflow.contracts.assessment import Assessment
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Configuration, FoldName, Plan
from segflow.contracts.reasons import PlanReasons
from segflow.contracts.scores import PostProcessing, Selection, Summary
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe
from segflow.reporting.cases import CaseFacts, Measure

__all__ = ["FastScores", "Gallery", "History", "Method", "Overlay", "Picture", "ReportData", "StageTime"]


@dataclass(frozen=True)
class History:
    """One training: a value per epoch in each column, the mean over the epoch. Pseudo-Dice is of held-out patches."""

    configuration: str
    fold: FoldName
    epochs: tuple[float, ...]
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    pseudo_dice: tuple[float, ...]
    ema_pseudo_dice: tuple[float, ...]

    @classmethod
    def from_rows(
        cls, configuration: str, fold: FoldName, rows: Iterable[Mapping[str, str | float | None]]
    ) -> History:
        """Take the columns from rows of training.csv: one per epoch; an empty cell is NaN."""
        table = list(rows)
        names = ("epoch", "train_loss", "validation_loss", "mean_pseudo_dice", "ema_pseudo_dice")
        return cls(configuration, fold, *(tuple(_number(row.get(name)) for row in table) for name in names))


def _number(cell: str | float | None) -> float:
    return math.nan if cell is None or cell == "" else float(cell)


@dataclass(frozen=True)
class Picture:
    """The address of a picture (a file beside the page, or a data URL), and what it shows, as "axial slice 2 of 4"."""

    source: str
    note: str = ""


@dataclass(frozen=True)
class Overlay:
    """Large pictures of one case.

    Attributes:
        case: Its identifier.
        rank: Such as "best".
        mean_dice: Over targets.
        pictures: The largest cross-sections of some targets.
        slices: The address of a picture of slices one below the other, or "".
        n_slices: Their number.
    """

    case: str
    rank: str
    mean_dice: float
    pictures: tuple[Picture, ...]
    slices: str = ""
    n_slices: int = 0


@dataclass(frozen=True)
class Gallery:
    """The cases of the data set.

    Attributes:
        facts: What was measured of each, with what looks wrong.
        measures: The same, by what was measured.
        thumbnails: By case.
        overlays: Of some cases, in the order shown.
    """

    facts: tuple[CaseFacts, ...] = ()
    measures: tuple[Measure, ...] = ()
    thumbnails: Mapping[str, Picture] = field(default_factory=dict)
    overlays: tuple[Overlay, ...] = ()


@dataclass(frozen=True)
class FastScores:
    """Mean Dice of the n cases that one of some folds holds out, by that fold's networks.

    Attributes:
        fast: Without mirroring.
        usual: As in the cross-validation.
    """

    fold: FoldName
    n_folds: int
    n: int
    fast: float
    usual: float


@dataclass(frozen=True)
class StageTime:
    """Time spent on one stage, and forecast for it, summed over its jobs."""

    name: str
    seconds: float
    jobs: int = 1
    forecast_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Method:
    """How the networks were made and are used.

    Attributes:
        recipe: Its name.
        training: How each configuration was trained, as far as its jobs have noted it.
        inference: Of the model.
        folds: Those that were trained.
        devices: Names of those that networks were trained on.
        versions: segflow, and the libraries that affect its numbers.
        reasons: Why the plan is as it is; None if its planner cannot be asked again.
    """

    recipe: str
    training: Mapping[str, tuple[TrainingRecipe, AugmentationRecipe]] = field(default_factory=dict)
    inference: InferenceRecipe = field(default_factory=InferenceRecipe)
    folds: tuple[FoldName, ...] = ()
    devices: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    reasons: PlanReasons | None = None


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything on the page.

    Attributes:
        dataset: Name of the data set.
        labels: Classes or regions.
        channel_names: In channel order.
        file_ending: With its dot; removed from file names to name the cases.
        fingerprint: Of the data set.
        plan: With all configurations.
        method: How the networks were made and are used.
        trained: Configurations as they were trained, by name, where that differs from the plan.
        selection: The candidates and the best.
        summary: Out-of-fold scores of the best candidate, after post-processing if operations were accepted.
        candidate_summaries: Out-of-fold scores by candidate name, for the per-target columns; may be incomplete.
        postprocessing: The steps tried, and the operations accepted.
        histories: One per configuration and fold.
        gallery: The cases in pictures.
        stages: In the order in which they ran.
        fast: What `predict --fast` scored, if it did.
        assessment: What was measured beyond Dice, if it was.
        provenance: Name and value of versions, device, seed, settings.
        warnings: Sentences that qualify the results.
        folder: Name of the folder beside the page.
        files: Path in the folder, with slashes, to content. `report_files` adds those made from this data; the page
            links to those that are here.
    """

    dataset: str
    labels: Labels
    channel_names: tuple[str, ...]
    file_ending: str
    fingerprint: Fingerprint
    plan: Plan
    method: Method
    trained: Mapping[str, Configuration] = field(default_factory=dict)
    selection: Selection
    summary: Summary
    postprocessing: PostProcessing
    candidate_summaries: Mapping[str, Summary] = field(default_factory=dict)
    histories: tuple[History, ...] = ()
    gallery: Gallery = field(default_factory=Gallery)
    stages: tuple[StageTime, ...] = ()
    fast: FastScores | None = None
    assessment: Assessment | None = None
    provenance: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    folder: str = "report"
    files: Mapping[str, str | bytes] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Heading of the targets' names."""
        return "Region" if self.labels.has_regions else "Class"

    @property
    def kinds(self) -> str:
        """What the targets are called in a sentence."""
        return "regions" if self.labels.has_regions else "classes"

    @property
    def has_spacing(self) -> bool:
        """False if no file says how large a voxel is."""
        return not self.gallery.facts or any(fact.spacing_mm for fact in self.gallery.facts)
