"""Tensors on disk, loaded without unpickling anything: networks with their cards, and checkpoints of a training."""

from __future__ import annotations

import json
import pickle  # for the name of the error that torch raises
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segflow.contracts.errors import PredictionError
from segflow.contracts.model import NetworkCard
from segflow.network.unet import UNet, build_network
from segflow.storage.files import open_atomically

__all__ = ["CheckpointFile", "load_network", "load_tensors", "save_network", "save_tensors"]

#: What torch raises for damaged files: its unpickler checks little.
_DAMAGE = (EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError)


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Save tensors, numbers, strings, lists and dicts, atomically; equal content gives equal bytes."""
    with open_atomically(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)  # given a name instead, torch would put it into the file


def load_tensors(path: Path) -> dict[str, Any]:
    """Load what `save_tensors` wrote, on the CPU.

    Raises:
        PredictionError: The file is missing, damaged, or holds anything but plain data.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise PredictionError(f"{path} does not exist") from None
    except PermissionError:
        raise PredictionError(f"{path} may not be read; ask its owner for permission") from None
    except _DAMAGE:
        content = None
    if not isinstance(content, dict):
        raise PredictionError(
            f"{path} cannot be loaded: it is damaged, or holds more than tensors and plain data; copy it again"
        )
    return content


class CheckpointFile:
    """One file that holds the state of an unfinished training; implements `CheckpointStore`.

    Attributes:
        path: The file.
        on_save: Called with each state that has been saved. In another process it is a copy.
    """

    def __init__(self, path: Path, on_save: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.path = path
        self.on_save = on_save

    def load(self) -> dict[str, Any] | None:
        """The last saved state, or None."""
        return load_tensors(self.path) if self.path.exists() else None

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state."""
        save_tensors(self.path, state)
        if self.on_save is not None:
            self.on_save(state)


def save_network(path: Path, card: NetworkCard, weights: Mapping[str, Tensor]) -> None:
    """Write a weights file, such as model.pt, that `load_network` reads."""
    save_tensors(path, {"weights": dict(weights), "card": card.model_dump_json()})


def load_network(path: Path) -> tuple[NetworkCard, UNet]:
    """The card of a weights file, and its network with the weights, on the CPU in evaluation mode.

    Raises:
        PredictionError: The file is missing, damaged, or no weights file of segflow.
    """
    content = load_tensors(path)
    if not {"weights", "card"} <= content.keys():
        raise PredictionError(f"{path} is not a weights file of segflow; train or package the model again")
    card = NetworkCard.parse(json.loads(content["card"]), where=str(path), error=PredictionError)
    network = build_network(
        card.configuration.architecture, input_channels=card.input_channels, output_channels=card.n_outputs
    )
    network.load_state_dict(content["weights"])
    return card, network.eval()
