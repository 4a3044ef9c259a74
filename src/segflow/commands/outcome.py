"""Reading a results folder back: what its report and its closing summary are made from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from segflow.contracts.errors import PlanError
from segflow.contracts.labels import Labels
from segflow.contracts.model import ModelCard
from segflow.contracts.plan import Plan
from segflow.contracts.scores import Summary
from segflow.images.dataset import read_description
from segflow.nnunet.plans import read_plan
from segflow.reporting.data import StageTime
from segflow.storage.files import read_contract

__all__ = ["Outcome", "read_outcome", "stage_times"]

#: In the order in which they run; files of `benchmarks` bear these names.
_STAGES = (
    "check",
    "fingerprint",
    "plan",
    "folds",
    "forecast",
    "preprocess",
    "prepared",
    "train",
    "previous_stage",
    "predict_fold",
    "ensemble",
    "evaluate",
    "crossvalidate",
    "select",
    "postprocess_search",
    "postprocess",
    "evaluate_final",
    "assess",
    "package",
    "score_fast",
    "report",
)


@dataclass(frozen=True)
class Outcome:
    """The end of an experiment.

    Attributes:
        folder: The results.
        card: Of the model package.
        labels: Classes or regions.
        description: The package's dataset.json.
        summary: Out-of-fold scores of the best candidate after post-processing.
        plan: The package's.
    """

    folder: Path
    card: ModelCard
    labels: Labels
    description: dict[str, Any]
    summary: Summary
    plan: Plan

    @property
    def of_dataset(self) -> Path:
        """The folder above, with what all recipes share on the data set; also if this one is called "."."""
        return Path(os.path.abspath(self.folder)).parent  # noqa: PTH100  a link's own place

    @cached_property
    def trained(self) -> frozenset[str]:
        """Configurations that could be chosen, and their previous stages; others in the folder are of earlier calls."""
        names = {name for one in self.card.selection.candidates for name in one.configurations}
        before = (self.plan.configuration(name).previous_stage for name in names)
        return frozenset(names.union(filter(None, before)))

    def of_trainings(self, name: str) -> list[Path]:
        """A file of all trainings of the package's folds; others are of earlier calls."""
        models = self.folder / "models"
        found = (models / one / f"fold_{fold}" / name for one in self.trained for fold in self.card.folds)
        return sorted(file for file in found if file.exists())


def read_outcome(folder: Path) -> Outcome:
    """Read what a finished experiment left.

    Args:
        folder: The workflow's output folder.

    Returns:
        The outcome.

    Raises:
        PlanError: The experiment is not finished.
    """
    package = folder / "model"
    if not (package / "model.json").exists():
        raise PlanError(f"{folder} holds no finished experiment: {package / 'model.json'} does not exist")
    description, labels = read_description(package / "dataset.json")
    return Outcome(
        folder=folder,
        card=read_contract(ModelCard, package / "model.json"),
        labels=labels,
        description=description,
        summary=read_contract(Summary, folder / "final" / "summary.json"),
        plan=read_plan(package / "plans.json"),
    )


def stage_times(outcome: Outcome) -> tuple[StageTime, ...]:
    """Time per stage, from the workflow's benchmark files.

    Args:
        outcome: Of one recipe; the stages that recipes share are noted in the folder above its own.

    Returns:
        Stages that ran, in order, their jobs summed.
    """
    own, shared = (folder / "benchmarks" for folder in (outcome.folder, outcome.of_dataset))
    found = []
    for stage in _STAGES:
        of_models = (own / stage).glob("*.tsv")  # such as evaluate/2d+3d_fullres_fold_0.tsv
        files = [
            *own.glob(f"{stage}.tsv"),
            *(f for f in of_models if outcome.trained.issuperset(f.stem.partition("_fold_")[0].split("+"))),
            *shared.glob(f"{stage}.tsv"),
            *(shared / stage).glob("*.tsv"),
        ]
        seconds = [float(pd.read_csv(file, sep="\t")["s"].iloc[-1]) for file in files]
        if seconds:
            found.append(StageTime(stage.replace("_", " "), sum(seconds), len(seconds)))
    return tuple(found)
