"""The data of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pandas as pd

from segflow.contracts.assessment import Assessment
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.labels import Labels
from segflow.contracts.model import ModelCard
from segflow.contracts.plan import Configuration, FoldName, Plan
from segflow.contracts.reasons import PlanReasons
from segflow.contracts.scores import Summary
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe
from segflow.reporting.cases import CaseFacts, Measure

__all__ = ["FastScores", "Gallery", "History", "Overlay", "Picture", "ReportData", "StageTime"]


@dataclass(frozen=True)
class History:
    """One training: a row per epoch, with the columns of training.csv; NaN where nothing was held out."""

    configuration: str
    fold: FoldName
    epochs: pd.DataFrame

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The same, as a row of column to cell per epoch."""
        return cast("list[dict[str, Any]]", self.epochs.to_dict("records"))


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
class ReportData:
    """Everything on the page.

    Attributes:
        card: Of the model package.
        labels: Classes or regions.
        channel_names: In channel order.
        file_ending: With its dot; removed from file names to name the cases.
        fingerprint: Of the data set.
        plan: With all configurations.
        reasons: Why the plan is as it is; None if its planner cannot be asked again.
        trained: Configurations as they were trained, by name, where that differs from the plan.
        trainings: How each configuration was trained, as far as its jobs have noted it.
        devices: Names of those that networks were trained on.
        summary: Out-of-fold scores of the best candidate, after post-processing if operations were accepted.
        candidate_summaries: Out-of-fold scores by candidate name, for the per-target columns; may be incomplete.
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

    card: ModelCard
    labels: Labels
    channel_names: tuple[str, ...]
    file_ending: str
    fingerprint: Fingerprint
    plan: Plan
    reasons: PlanReasons | None = None
    trained: Mapping[str, Configuration] = field(default_factory=dict)
    trainings: Mapping[str, tuple[TrainingRecipe, AugmentationRecipe]] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    summary: Summary
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
