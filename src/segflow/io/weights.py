"""Network weights and training checkpoints, loaded without unpickling anything."""

from __future__ import annotations

import pickle  # for the name of the error that torch raises
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from segflow.contracts.errors import PredictionError
from segflow.io.files import write_atomically

__all__ = ["CheckpointFile", "load_tensors", "save_tensors"]

#: What torch raises for damaged files: its unpickler checks little.
_DAMAGE = (EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError)


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Save tensors, numbers, strings, lists and dicts, atomically; equal content gives equal bytes. Source: ours."""

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:  # given a name, torch would put it into the file
            torch.save(content, file)

    write_atomically(path, save)


def load_tensors(path: Path) -> dict[str, Any]:
    """Load what `save_tensors` wrote, on the CPU.

    Raises:
        PredictionError: The file is missing, damaged, or holds anything but plain data.

    Source: ours.
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
        """The last saved state, or None. Source: ours."""
        return load_tensors(self.path) if self.path.exists() else None

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state. Source: ours."""
        save_tensors(self.path, state)
        if self.on_save is not None:
            self.on_save(state)
