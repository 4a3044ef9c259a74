"""From a prepared image to probabilities: the one path that folds and new images share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segflow.contracts.arrays import Image, LabelMap, Scores
from segflow.contracts.case import CaseRecord
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Configuration, Preparation
from segflow.export import restore_probabilities
from segflow.inference import Network, sliding_window, with_probabilities
from segflow.io.networks import load_network
from segflow.recipes.inference import InferenceRecipe
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

    def probabilities(
        self, image: Image, record: CaseRecord, preparation: Preparation, previous: LabelMap | None = None
    ) -> Scores:
        """Predict a prepared image.

        Args:
            image: (c, z, y, x), prepared for this configuration.
            record: Of the case.
            preparation: Of the configuration.
            previous: (z, y, x) labels of the previous stage on the prepared grid, for a cascade.

        Returns:
            (k, z, y, x), float32, on the crop of the transposed raw image.

        Source: method.md sections 16-18; section 26 for probabilities that are averaged.
        """
        if previous is not None:
            image = np.concatenate([image, one_hot(previous, self.labels.foreground_values)])
        as_probabilities = self.recipe.average == "probabilities"
        networks = self.networks
        if as_probabilities:
            networks = [with_probabilities(n, has_regions=self.labels.has_regions) for n in networks]
        scores = sliding_window(
            networks,
            image,
            self.configuration.patch_shape,
            self.recipe,
            n_outputs=self.labels.n_outputs,
            device=self.device,
        )
        return restore_probabilities(
            scores, record, preparation, self.labels, as_probabilities=as_probabilities
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

    Source: ours.
    """
    networks, cards = [], []
    for file in files:
        card, network = load_network(file)
        if card.n_outputs != labels.n_outputs:
            raise PredictionError(
                f"{file} has {card.n_outputs} outputs, but dataset.json asks for {labels.n_outputs}; "
                "these files do not belong together"
            )
        networks.append(network.to(device))
        cards.append(card)
    if not cards:
        raise PredictionError("no weights file to predict with")
    return FoldEnsemble(cards[0].configuration, networks, labels, recipe, device)
