"""A labelled data set, as found on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segflow.contracts.labels import Labels

__all__ = ["Case", "Dataset"]


@dataclass(frozen=True)
class Case:
    """One subject: an image file per channel, and a label file if it is a training case."""

    identifier: str
    images: tuple[Path, ...]
    label: Path | None = None


@dataclass(frozen=True)
class Dataset:
    """A raw data set.

    Attributes:
        folder: Where dataset.json lies.
        name: The folder's name, or the name the file gives.
        channel_names: One per channel, in channel order; they choose the normalisation.
        labels: Classes or regions.
        file_ending: With its dot, as in ".nii.gz".
        n_declared: `numTraining` of the file (the planner counts with it).
        cases: In the order of their identifiers.
        folds_file: A splits_final.json that came with the data, if any.
    """

    folder: Path
    name: str
    channel_names: tuple[str, ...]
    labels: Labels
    file_ending: str
    n_declared: int
    cases: tuple[Case, ...]
    folds_file: Path | None = None
