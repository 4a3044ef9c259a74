"""From a prepared image to probabilities and labels: the one path that folds and new images share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from segflow.contracts.arrays import Image, LabelMap, Scores
from segflow.contracts.artefacts import NetworkCard
from segflow.contracts.case import CaseRecord
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Configuration
from segflow.export import restore_probabilities
from segflow.inference import Network, sliding_window
from segflow.io.weights import load_tensors, save_tensors
from segflow.network import build_network
from segflow.recipes import InferenceRecipe
from segflow.volumes.labelmaps import one_hot

__all__ = ["FoldEnsemble", "load_ensemble", "save_network"]

_WEIGHTS, _CARD = "weights", "card"


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

    def probabilities(self, image: Image, record: CaseRecord, previous: LabelMap | None = None) -> Scores:
        """Predict a prepared image.

        Args:
            image: (c, z, y, x), prepared for this configuration.
            record: Of the case.
            previous: (z, y, x) labels of the previous stage on the prepared grid, for a cascade.

        Returns:
            (k, z, y, x), float32, on the crop of the transposed raw image.

        Source: method.md sections 16-18.
        """
        if previous is not None:
            image = np.concatenate([image, one_hot(previous, self.labels.foreground_values)])
        logits = sliding_window(
            self.networks,
            image,
            self.configuration.patch_shape,
            self.recipe,
            n_outputs=self.labels.n_outputs,
            device=self.device,
        )
        return restore_probabilities(logits, record, self.configuration, self.labels)


def save_network(path: Path, card: NetworkCard, weights: Mapping[str, Tensor]) -> None:
    """Write a weights file that `load_ensemble` reads, atomically.

    Args:
        path: Such as model.pt.
        card: What the network is.
        weights: Its state.

    Source: ours.
    """
    save_tensors(path, {_WEIGHTS: dict(weights), _CARD: card.model_dump_json()})


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
        content = load_tensors(file)
        if _CARD not in content or _WEIGHTS not in content:
            raise PredictionError(
                f"{file} is not a weights file of segflow; train or package the model again"
            )
        card = NetworkCard.parse(json.loads(content[_CARD]), where=str(file), error=PredictionError)
        if card.n_outputs != labels.n_outputs:
            raise PredictionError(
                f"{file} has {card.n_outputs} outputs, but dataset.json asks for {labels.n_outputs}; "
                "these files do not belong together"
            )
        network = build_network(
            card.configuration.architecture,
            input_channels=card.input_channels,
            output_channels=card.n_outputs,
        )
        network.load_state_dict(content[_WEIGHTS])
        networks.append(network.eval().to(device))
        cards.append(card)
    if not cards:
        raise PredictionError("no weights file to predict with")
    return FoldEnsemble(cards[0].configuration, networks, labels, recipe, device)
