"""What a call of `segflow predict` has made, and of what."""

from __future__ import annotations

from segflow.contracts.codec import Contract

__all__ = ["PredictedCase", "Prediction"]


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
