"""What stages ask of their callers, so that no stage needs to know about files or screens."""

from __future__ import annotations

from typing import Any, Protocol

from segflow.contracts.case import TrainingCase

__all__ = ["CaseReader", "CheckpointStore", "Progress", "Stop"]


class CaseReader(Protocol):
    """Gives preprocessed cases by identifier. Must survive being copied into a worker process."""

    def read(self, identifier: str) -> TrainingCase:
        """The case; cheap, since its arrays are memory maps."""
        ...


class CheckpointStore(Protocol):
    """Keeps the state of an unfinished training."""

    def load(self) -> dict[str, Any] | None:
        """The last saved state, or None."""
        ...

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state, atomically. Tensors, numbers, strings, lists and dicts only."""
        ...


class Stop(Protocol):
    """Tells whether work should be put down; asked between steps."""

    def __call__(self) -> bool:
        """True as soon as a stop was asked for."""
        ...


class Progress(Protocol):
    """A progress bar."""

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        """Move on, and show a short note beside the bar."""
        ...
