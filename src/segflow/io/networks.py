"""Trained networks on disk: the weights and the card that says what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from segflow.contracts.errors import PredictionError
from segflow.contracts.network_card import NetworkCard
from segflow.io.weights import load_tensors, save_tensors
from segflow.network import UNet, build_network

__all__ = ["load_network", "save_network"]

_WEIGHTS, _CARD = "weights", "card"


def save_network(path: Path, card: NetworkCard, weights: Mapping[str, Tensor]) -> None:
    """Write a weights file that `load_network` reads, atomically.

    Args:
        path: Such as model.pt.
        card: What the network is.
        weights: Its state.

    Source: ours.
    """
    save_tensors(path, {_WEIGHTS: dict(weights), _CARD: card.model_dump_json()})


def load_network(path: Path) -> tuple[NetworkCard, UNet]:
    """Build the network of a weights file and give it its weights.

    Args:
        path: Such as model.pt.

    Returns:
        Its card, and the network on the CPU in evaluation mode.

    Raises:
        PredictionError: The file is missing, damaged, or no weights file of segflow.

    Source: ours.
    """
    content = load_tensors(path)
    if _CARD not in content or _WEIGHTS not in content:
        raise PredictionError(f"{path} is not a weights file of segflow; train or package the model again")
    card = NetworkCard.parse(json.loads(content[_CARD]), where=str(path), error=PredictionError)
    network = build_network(
        card.configuration.architecture, input_channels=card.input_channels, output_channels=card.n_outputs
    )
    network.load_state_dict(content[_WEIGHTS])
    return card, network.eval()
