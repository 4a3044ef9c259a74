"""What a model package holds."""

from __future__ import annotations

from segflow.contracts.codec import Contract
from segflow.contracts.scores import PostProcessing, Selection

__all__ = ["ModelCard"]


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
