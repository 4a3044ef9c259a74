"""One case on its way through the stages.

A labelled data set, as found on disk.
What stages ask of their callers, so that no stage needs to know about files or screens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from segflow.contracts.arrays import Image, LabelMap, Voxels
from segflow.contracts.codec import Contract
from segflow.contracts.labels import Labels, Target

__all__ = [
    "Case",
    "CaseReader",
    "CaseRecord",
    "CheckpointStore",
    "Dataset",
    "Geometry",
    "Progress",
    "RawCase",
    "Stop",
    "TrainingCase",
]


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


class Geometry(Contract):
    """Where an image lies in space, enough to write a label map beside it.

    Attributes:
        shape: Voxels along z, y, x of the array (z = 1 for a 2D file).
        spacing_mm: Along z, y, x; a 2D file gets a large z (method.md section 3).
        file_dimensions: Axes of the file: 2 or 3.
        file_spacing_mm: As in the file, x first.
        origin_mm: As in the file, x first.
        direction: As in the file, row by row.
        nifti_placement: Of a NIfTI file, the bits of the header that say all this (io/nifti.py): decimal numbers would
            not bring them back exactly.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    file_dimensions: int
    file_spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]
    nifti_placement: str = ""


class CaseRecord(Contract):
    """What undoes the preprocessing of a case. Axes are transposed except in `geometry`.

    Attributes:
        identifier: Of the case.
        geometry: Of the raw image.
        shape_before_crop: Voxels.
        crop_box: Half-open (start, stop) per axis.
        spacing_mm: Of the raw image.
        shape: Of the preprocessed arrays.
    """

    identifier: str
    geometry: Geometry
    shape_before_crop: tuple[int, int, int]
    crop_box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]

    @property
    def shape_after_crop(self) -> tuple[int, int, int]:
        """Voxels of the crop, before resampling."""
        (z0, z1), (y0, y1), (x0, x1) = self.crop_box
        return (z1 - z0, y1 - y0, x1 - x0)


@dataclass(frozen=True)
class RawCase:
    """A case as read.

    Attributes:
        identifier: Of the case.
        image: (c, z, y, x).
        labels: (z, y, x), if it has them.
        geometry: Of the first channel's file.
        warnings: What its files are suspected of; each line names the case.
    """

    identifier: str
    image: Image
    labels: LabelMap | None
    geometry: Geometry
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingCase:
    """A preprocessed case, as sampling sees it. Arrays may be memory maps.

    Attributes:
        image: (c, z, y, x), float32.
        labels: (z, y, x), integer; -1 outside the non-zero mask.
        locations: For each target (and, with an ignore label, for the tuple of all annotated values)
            up to 10,000 voxels that carry it, (n, 3); n may be 0.
        previous_stage: (z, y, x) label map of the previous stage, for a cascade.
    """

    image: Image
    labels: LabelMap
    locations: Mapping[Target, Voxels]
    previous_stage: LabelMap | None = None


class CaseReader(Protocol):
    """Gives preprocessed cases by identifier. Must survive being copied into a worker process."""

    def read(self, identifier: str) -> TrainingCase:
        """The case; cheap, since its arrays are memory maps."""
        ...


class CheckpointStore(Protocol):
    """Keeps the state of an unfinished training."""

    def load(self) -> dict[str, Any] | None:
        """The last saved state, or None."""
        ...

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state, atomically. Tensors, numbers, strings, lists and dicts only."""
        ...


class Stop(Protocol):
    """Tells whether work should be put down; asked between steps."""

    def __call__(self) -> bool:
        """True as soon as a stop was asked for."""
        ...


class Progress(Protocol):
    """A progress bar."""

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        """Move on, and show a short note beside the bar."""
        ...
