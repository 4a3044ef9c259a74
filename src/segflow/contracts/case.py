"""Data sets and cases, from files to prepared arrays, and the interfaces of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from segflow.contracts.arrays import Image, LabelMap, Shape3, SpacingMm, Voxels
from segflow.contracts.codec import Contract
from segflow.contracts.labels import Labels, Target

__all__ = [
    "Case",
    "CaseReader",
    "CaseRecord",
    "CheckpointStore",
    "Dataset",
    "Geometry",
    "PreparedCase",
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
        folder: The folder of dataset.json.
        name: The folder's name, or the name in dataset.json.
        channel_names: In channel order; they determine the normalisation.
        file_ending: With its dot, as in ".nii.gz".
        cases: In the order of their identifiers.
        folds_file: splits_final.json, if the data set has one.
    """

    folder: Path
    name: str
    channel_names: tuple[str, ...]
    labels: Labels
    file_ending: str
    cases: tuple[Case, ...]
    folds_file: Path | None = None

    @property
    def references(self) -> dict[str, Path]:
        """The label maps, by identifier."""
        return {case.identifier: case.label for case in self.cases if case.label is not None}


class Geometry(Contract):
    """Position and orientation of an image: enough to write a label map on the same grid.

    Attributes:
        shape: Voxels along z, y, x of the array (z = 1 for a 2D file).
        spacing_mm: Along z, y, x; large along z for a 2D file (method.md section 3).
        file_dimensions: Number of axes of the file, 2 or 3.
        file_spacing_mm, origin_mm: As in the file, x first.
        direction: As in the file, row by row.
        nifti_placement: These fields of a NIfTI header as bytes, since decimal numbers would not be exact.
        remarks: Contradictions in the file that were settled; not stored.
    """

    shape: Shape3
    spacing_mm: SpacingMm
    file_dimensions: int
    file_spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]
    nifti_placement: str = ""
    remarks: tuple[str, ...] = Field(default=(), exclude=True)


class CaseRecord(Contract):
    """What is needed to undo the preprocessing of a case. Axes are transposed except in `geometry`.

    Attributes:
        geometry: Of the raw image.
        shape_before_crop: Voxels of the raw image.
        crop_box: Half-open (start, stop) per axis.
        spacing_mm: Of the raw image.
        shape: Voxels of the prepared arrays.
    """

    identifier: str
    geometry: Geometry
    shape_before_crop: Shape3
    crop_box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    spacing_mm: SpacingMm
    shape: Shape3

    @property
    def shape_after_crop(self) -> Shape3:
        """Voxels of the crop, before resampling."""
        (z0, z1), (y0, y1), (x0, x1) = self.crop_box
        return (z1 - z0, y1 - y0, x1 - x0)


@dataclass(frozen=True)
class RawCase:
    """A case as read.

    Attributes:
        image: (c, z, y, x).
        labels: (z, y, x), or None without a label file.
        geometry: Of the first channel's file.
        warnings: About its files; each names the case.
    """

    identifier: str
    image: Image
    labels: LabelMap | None
    geometry: Geometry
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreparedCase:
    """A case as preprocessing makes it.

    Attributes:
        record: What is needed to undo the preprocessing.
        image: (c, z, y, x), float32.
        labels: (z, y, x), -1 outside the non-zero mask; None without a label file.
        locations: Voxels (n, 3) of each target; empty without a label file.
    """

    record: CaseRecord
    image: Image
    labels: LabelMap | None
    locations: Mapping[Target, Voxels]


@dataclass(frozen=True)
class TrainingCase:
    """A prepared case for patch sampling. Arrays may be memory maps.

    Attributes:
        image: (c, z, y, x), float32.
        labels: (z, y, x), integer; -1 outside the non-zero mask.
        locations: Voxels (n, 3) of each target; with an ignore label also of the tuple of all annotated values.
        previous_stage: (z, y, x) label map of the previous stage, for a cascade.
    """

    image: Image
    labels: LabelMap
    locations: Mapping[Target, Voxels]
    previous_stage: LabelMap | None = None


class CaseReader(Protocol):
    """Reads prepared cases; can be pickled for worker processes."""

    def read(self, identifier: str) -> TrainingCase:
        """A case; fast, since its arrays are memory maps."""


class CheckpointStore(Protocol):
    """Stores the state of an unfinished training."""

    def load(self) -> dict[str, Any] | None:
        """The last saved state, or None."""

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state atomically: tensors, numbers, strings, lists and dicts."""


#: Whether a stop was requested; called between steps.
Stop = Callable[[], bool]


class Progress(Protocol):
    """A progress bar."""

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        """Advance, and show a short note beside the bar."""
