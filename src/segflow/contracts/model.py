"""What a call of `segflow predict` has made, and of what.

What a weights file holds.
What a model package holds.
"""

from __future__ import annotations

from segflow.contracts.codec import Contract
from segflow.contracts.plan import Configuration
from segflow.contracts.scores import PostProcessing, Selection

__all__ = [
    "ModelCard",
    "NetworkCard",
    "PredictedCase",
    "Prediction",
]


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
        inference: How its networks are applied: the values of the recipe's section.
        configurations: Their probabilities are averaged.
        stages: Configurations that only feed a cascade.
        folds: Networks per configuration; their logits are averaged.
        postprocessing: Applied in order.
        selection: The candidates and their scores.
        versions: Of segflow and the libraries that shape its numbers.
    """

    dataset: str
    recipe: str
    inference: dict[str, float | bool | str | tuple[str, ...]]
    configurations: tuple[str, ...]
    stages: tuple[str, ...]
    folds: tuple[int, ...]
    postprocessing: PostProcessing
    selection: Selection
    versions: dict[str, str]


class PredictedCase(Contract):
    """One case that was labelled.

    Attributes:
        key: A name for all that the result depends on: model, options, input files, code, versions.
        files: File, relative to the output folder, to its SHA-256.
    """

    key: str
    files: dict[str, str]


class Prediction(Contract):
    """prediction.json, beside label maps. Without times: the same call on the same files writes the same.

    Attributes:
        model: Name for all files of the model package that were used.
        data: Name of the data set the model was trained on.
        candidate: Configuration, or pair.
        folds: Whose networks were used.
        inference: Sliding window and mirroring.
        device: "cpu" or "cuda".
        versions: Of segflow and the libraries that shape its numbers.
        cases: By identifier.
        failed: Identifier to the reason.

    """

    model: str
    data: str
    candidate: str
    folds: tuple[int, ...]
    inference: dict[str, float | bool | str | tuple[str, ...]]
    device: str
    versions: dict[str, str]
    cases: dict[str, PredictedCase]
    failed: dict[str, str]
