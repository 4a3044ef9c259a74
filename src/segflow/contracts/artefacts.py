"""Small files that tie the workflow's stages together."""

from __future__ import annotations

from segflow.contracts.codec import Contract
from segflow.contracts.plan import Configuration
from segflow.contracts.scores import PostProcessing, Selection

__all__ = ["CheckReport", "CheckedCase", "Manifest", "ModelCard", "NetworkCard"]


class CheckedCase(Contract):
    """One case of a data set that was found sound.

    Attributes:
        identifier: Of the case.
        images: SHA-256 of each image file, keyed by its path relative to the data set.
        label: The same of the label file.
        shape: Voxels along z, y, x.
        spacing_mm: Along z, y, x.
    """

    identifier: str
    images: dict[str, str]
    label: dict[str, str]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]


class CheckReport(Contract):
    """check.json: every case of the data set, and what its user should know."""

    dataset: str
    cases: tuple[CheckedCase, ...]
    warnings: tuple[str, ...]


class Manifest(Contract):
    """A finished set of per-case files: case identifier to the SHA-256 of what was written for it."""

    cases: dict[str, str]


class NetworkCard(Contract):
    """What is needed to use a trained network; kept inside its weights file.

    Attributes:
        configuration: As trained, overrides of width and batch size included.
        input_channels: Image channels, and one per foreground label in a cascade.
        n_outputs: Channels of the logits.
        fold: Which cases were held out.
        seed: Of initialisation, sampling and augmentation.
        epochs: Trained.
        device: Trained on.
    """

    configuration: Configuration
    input_channels: int
    n_outputs: int
    fold: int
    seed: int
    epochs: int
    device: str


class ModelCard(Contract):
    """model.json: what a model package holds and how it was chosen.

    Attributes:
        dataset: Name of the data set.
        recipe: Its name.
        step: Of the sliding window.
        mirroring: At prediction.
        configurations: Their probabilities are averaged.
        stages: Configurations that only feed a cascade.
        folds: Networks per configuration; their logits are averaged.
        postprocessing: Applied in order.
        selection: The candidates and their scores.
        versions: Of segflow and the libraries that shape its numbers.
    """

    dataset: str
    recipe: str
    step: float
    mirroring: bool
    configurations: tuple[str, ...]
    stages: tuple[str, ...]
    folds: tuple[int, ...]
    postprocessing: PostProcessing
    selection: Selection
    versions: dict[str, str]
