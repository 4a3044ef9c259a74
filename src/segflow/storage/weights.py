"""Tensors on disk, loaded without unpickling anything: networks with their cards, and checkpoints of a training.

Trainings and checkpoints are files of torch, the networks of a package safetensors (decision 0023).
"""

from __future__ import annotations

import pickle  # for the name of the error that torch raises
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from segflow.contracts.errors import PredictionError, TrainingError
from segflow.contracts.model import NetworkCard
from segflow.network.unet import UNet, arranged
from segflow.network.weights import check_finite, check_weights
from segflow.storage.files import DAMAGE, open_atomically, parse_json

__all__ = [
    "CheckpointFile",
    "card_of",
    "is_state",
    "load_network",
    "load_tensors",
    "save_network",
    "save_tensors",
]

#: What torch raises for damaged files: its unpickler checks little.
_DAMAGE = (*DAMAGE, OSError, SafetensorError, pickle.UnpicklingError)
_SAFETENSORS = ".safetensors"


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Save tensors, numbers, strings, lists and dicts, atomically; equal content gives equal bytes."""
    with open_atomically(path) as temporary:
        try:
            with temporary.open("wb") as file:
                torch.save(content, file)  # given a name instead, torch would put it into the file
        except RuntimeError as problem:
            if isinstance(problem.__context__, OSError):  # torch notices a full disk later than Python
                raise problem.__context__ from None
            raise


def load_tensors(path: Path) -> dict[str, Any]:
    """Load what `save_tensors` or `save_network` wrote, on the CPU.

    Raises:
        PredictionError: The file is missing, damaged, or holds anything but plain data.
    """
    try:
        content = _load_safetensors(path) if path.suffix == _SAFETENSORS else _load_torch(path)
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


def _load_torch(path: Path) -> Any:
    # Of a damaged file torch says that its protocol is unknown, and asks to have that reported.
    with warnings.catch_warnings(action="ignore"):
        return torch.load(path, map_location="cpu", weights_only=True)


def _load_safetensors(path: Path) -> dict[str, Any]:
    with path.open("rb"):  # says why it cannot be read, which the library does not
        pass
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
        return {"weights": weights, **(file.metadata() or {})}


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
    """Write a weights file that `load_network` reads: model.pt of a training, fold_0.safetensors of a package.

    Raises:
        TrainingError: The weights are not finite.
    """
    check_finite(weights, where=str(path))
    text = card.model_dump_json()
    if path.suffix != _SAFETENSORS:
        save_tensors(path, {"weights": dict(weights), "card": text})
        return
    with open_atomically(path) as temporary:
        # One entry of metadata: the library writes several in any order.
        temporary.write_bytes(save({name: weights[name].contiguous() for name in weights}, {"card": text}))


def load_network(path: Path) -> tuple[NetworkCard, UNet]:
    """The card of a weights file, and its network with the weights, on the CPU in evaluation mode.

    Raises:
        PredictionError: The file is missing, damaged, or no weights file of segflow, its weights are not finite, or not
            those of the network that its card describes, for which no memory is taken then.
    """
    content = load_tensors(path)
    weights, text = content.get("weights"), content.get("card")
    if not is_state(weights) or not isinstance(text, str):
        raise PredictionError(f"{path} is not a weights file of segflow; train or package the model again")
    card = card_of(text, path)
    architecture = card.configuration.architecture
    try:
        with torch.device("meta"):
            network = UNet(architecture, input_channels=card.input_channels, output_channels=card.n_outputs)
        check_weights(network, weights, where=str(path))
    except TrainingError as problem:
        raise PredictionError(str(problem)) from None
    except (LookupError, RuntimeError, TypeError, ValueError) as problem:
        raise PredictionError(f"{path}: its card describes no network ({problem}); copy it again") from None
    network.to_empty(device="cpu").load_state_dict(weights)
    return card, arranged(network, "cpu").eval()


def card_of(text: str, path: Path) -> NetworkCard:
    """The card of a weights file.

    Raises:
        PredictionError: It cannot be understood.
    """
    content = parse_json(text, path, error=PredictionError)
    return NetworkCard.parse(content, where=str(path), error=PredictionError)


def is_state(value: Any) -> TypeGuard[Mapping[str, Tensor]]:
    """Whether a value is a mapping of names to tensors."""
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items()
    )
