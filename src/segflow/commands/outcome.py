"""Reading a results folder back: what its report and its closing summary are made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from segflow.contracts.errors import PlanError
from segflow.contracts.labels import Labels
from segflow.contracts.model import ModelCard
from segflow.contracts.scores import Summary
from segflow.images.dataset import read_description
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
    """

    folder: Path
    card: ModelCard
    labels: Labels
    description: dict[str, Any]
    summary: Summary


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
    )


def stage_times(folder: Path) -> tuple[StageTime, ...]:
    """Time per stage, from the workflow's benchmark files.

    Args:
        folder: Of one recipe's results; the stages that recipes share are noted in the folder above it.

    Returns:
        Stages that ran, in order, their jobs summed.
    """
    found = []
    for stage in _STAGES:
        files = [
            *(folder / "benchmarks").glob(f"{stage}.tsv"),
            *(folder / "benchmarks" / stage).glob("*.tsv"),
            *(folder.parent / "benchmarks").glob(f"{stage}.tsv"),
            *(folder.parent / "benchmarks" / stage).glob("*.tsv"),
        ]
        seconds = [float(pd.read_csv(file, sep="\t")["s"].iloc[-1]) for file in files]
        if seconds:
            found.append(StageTime(stage.replace("_", " "), sum(seconds), len(seconds)))
    return tuple(found)
