"""Descriptions of trained models: of one network, of a model package, and of what a package predicted."""

from __future__ import annotations

from pydantic import Field

from segflow.contracts.codec import Contract
from segflow.contracts.plan import Configuration, FoldName
from segflow.contracts.scores import PostProcessing, Selection

__all__ = ["ClassStatistics", "ModelCard", "NetworkCard", "PredictedCase", "Prediction"]


class NetworkCard(Contract):
    """What is needed to use a trained network; part of its weights file.

    Attributes:
        configuration: As trained, with the recipe's width and batch size.
        input_channels: Image channels, and one per foreground label in a cascade.
        n_outputs: Channels of the logits.
        fold: The fold whose cases were held out.
        seed: Of initialisation, sampling and augmentation.
        iterations: Steps of an epoch; None if the network came from elsewhere.
        device: What it was trained on.
    """

    configuration: Configuration
    input_channels: int
    n_outputs: int
    fold: FoldName
    seed: int
    epochs: int
    iterations: int | None = None
    device: str


class ModelCard(Contract):
    """model.json: what a model package contains and how it was chosen.

    Attributes:
        dataset, recipe: Names.
        inference: The recipe's section.
        configurations: Their probabilities are averaged.
        stages: Configurations that only provide the input of a cascade.
        folds: Of the networks of each configuration, whose logits are averaged.
        versions: segflow, and the libraries that affect its numbers.
        files: SHA-256 of every other file of the package, by path; none in a package of an earlier version.
    """

    dataset: str
    recipe: str
    inference: dict[str, float | bool | str | tuple[str, ...]]
    configurations: tuple[str, ...]
    stages: tuple[str, ...]
    folds: tuple[FoldName, ...]
    postprocessing: PostProcessing
    selection: Selection
    versions: dict[str, str]
    files: dict[str, str] = Field(default_factory=dict)


class PredictedCase(Contract):
    """One predicted case.

    Attributes:
        key: Digest of all that the result depends on: model, options, input files, code, versions.
        files: SHA-256 by path relative to the output folder.
    """

    key: str
    files: dict[str, str]


class ClassStatistics(Contract):
    """What one class or region of a label map measures.

    Attributes:
        case: Identifier.
        target: Its label value or values, such as "1" or "(1, 2)".
        name: As in dataset.json.
        voxels: How many.
        volume_ml: Millilitres; None for a 2D image.
        mean_intensity: Of each channel of the image, as its files hold it; None without voxels.
    """

    case: str
    target: str
    name: str
    voxels: int
    volume_ml: float | None
    mean_intensity: tuple[float | None, ...]


class Prediction(Contract):
    """prediction.json, beside label maps. It holds no times: the same call on the same files writes the same file.

    Attributes:
        model: Digest of all files of the model package that were used.
        data: Name of the data set the model was trained on.
        candidate: Configuration or pair.
        folds: Folds whose networks were used.
        inference: Parameters of the sliding window.
        device: "cpu" or "cuda".
        versions: segflow, and the libraries that affect its numbers.
        cases: By identifier.
        failed: Reason by identifier.
    """

    model: str
    data: str
    candidate: str
    folds: tuple[FoldName, ...]
    inference: dict[str, float | bool | str | tuple[str, ...]]
    device: str
    versions: dict[str, str]
    cases: dict[str, PredictedCase]
    failed: dict[str, str]
