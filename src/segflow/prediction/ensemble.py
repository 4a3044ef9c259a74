"""From a prepared image to scores: the one path that folds and new images share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segflow.contracts.arrays import Image, LabelMap
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Configuration, Preparation
from segflow.network.device import keep_freed_memory
from segflow.network.unet import arranged
from segflow.prediction.restore import ScoreStream
from segflow.prediction.sliding_window import Network, sliding_window, with_probabilities
from segflow.recipes.inference import InferenceRecipe
from segflow.storage.weights import load_network
from segflow.volumes.labelmaps import one_hot

__all__ = ["FoldEnsemble", "load_ensemble"]


@dataclass(frozen=True)
class FoldEnsemble:
    """The networks of one configuration, one per fold.

    Attributes:
        configuration: As trained.
        networks: On `device`, in evaluation mode.
        labels: Classes or regions.
        recipe: Sliding window and mirroring.
        device: "cpu" or "cuda".
    """

    configuration: Configuration
    networks: Sequence[Network]
    labels: Labels
    recipe: InferenceRecipe
    device: str

    def scores(self, image: Image, preparation: Preparation, previous: LabelMap | None = None) -> ScoreStream:
        """Predict a prepared image, when the stream is read.

        Args:
            image: (c, z, y, x), prepared for this configuration.
            preparation: Of the configuration.
            previous: (z, y, x) labels of the previous stage on the prepared grid, for a cascade.

        Returns:
            Logits; or probabilities, if the recipe asks for averages of these.

        Source: method.md sections 16 and 18; section 26 for probabilities that are averaged.
        """
        if previous is not None:
            image = np.concatenate([image, one_hot(previous, self.labels.foreground_values)])
        are_probabilities = self.recipe.average == "probabilities"
        networks = self.networks
        if are_probabilities:
            networks = [with_probabilities(n, has_regions=self.labels.has_regions) for n in networks]
        chunks = sliding_window(
            networks,
            image,
            self.configuration.patch_shape,
            self.recipe,
            n_outputs=self.labels.n_outputs,
            device=self.device,
        )
        _, z, y, x = image.shape
        return ScoreStream(
            chunks=chunks, shape=(z, y, x), preparation=preparation, are_probabilities=are_probabilities
        )


def load_ensemble(
    files: Sequence[Path], labels: Labels, recipe: InferenceRecipe, *, device: str
) -> FoldEnsemble:
    """Load the networks of one configuration.

    Args:
        files: Weights files, one per fold.
        labels: Classes or regions.
        recipe: Sliding window and mirroring.
        device: "cpu" or "cuda".

    Returns:
        The networks, ready to predict.

    Raises:
        PredictionError: A file is missing or damaged, or has another number of outputs than there are labels.
    """
    if device == "cpu":
        keep_freed_memory()
    networks, cards = [], []
    for file in files:
        card, network = load_network(file)
        if card.n_outputs != labels.n_outputs:
            raise PredictionError(
                f"{file} has {card.n_outputs} outputs, but dataset.json asks for {labels.n_outputs}; "
                "these files do not belong together"
            )
        networks.append(arranged(network, device))
        cards.append(card)
    if not cards:
        raise PredictionError("no weights file to predict with")
    return FoldEnsemble(cards[0].configuration, networks, labels, recipe, device)
