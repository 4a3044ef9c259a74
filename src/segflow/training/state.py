"""What a training has done so far, and the checkpoint from which it goes on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from segflow.contracts.errors import TrainingError
from segflow.training.monitor import EpochRecord

__all__ = ["TrainingState", "damage_said", "make_checkpoint", "state_of"]

_VERSION: Final = 3


@dataclass
class TrainingState:
    """What a training has done so far, apart from the network and the optimiser.

    Attributes:
        history: One record per finished epoch.
        losses: Of the training batches of the unfinished epoch.
        skipped: How many of these had no effect.
        seconds: Spent on the unfinished epoch.
    """

    history: list[EpochRecord] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    skipped: int = 0
    seconds: float = 0.0

    def add(self, record: EpochRecord) -> None:
        """Add a finished epoch."""
        self.history.append(record)
        self.losses, self.skipped, self.seconds = [], 0, 0.0


def make_checkpoint(
    learner: Mapping[str, Any], state: TrainingState, job_parts: Mapping[str, str]
) -> dict[str, Any]:
    """Everything that a training needs to go on, of tensors and plain values only.

    That is `Learner.state`, the epochs so far, and `TrainingJob.parts` to recognise the training. Batches need no
    state: they are made from their number.
    """
    return {
        "version": _VERSION,
        "job": dict(job_parts),
        **learner,
        "history": [asdict(record) for record in state.history],
        "losses": state.losses,
        "skipped": state.skipped,
        "seconds": state.seconds,
    }


def state_of(checkpoint: Mapping[str, Any] | None, job_parts: Mapping[str, str]) -> TrainingState:
    """The epochs so far; none without a checkpoint.

    Raises:
        TrainingError: The checkpoint belongs to another training, or is damaged.
    """
    if checkpoint is None:
        return TrainingState()
    with damage_said():
        return _read(checkpoint, job_parts)


@contextmanager
def damage_said() -> Iterator[None]:
    """One sentence for a checkpoint that lacks something, or holds something else."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as problem:
        raise TrainingError(
            f"the checkpoint is damaged ({type(problem).__name__}: {problem}); delete it to train anew"
        ) from problem


def _read(checkpoint: Mapping[str, Any], job_parts: Mapping[str, str]) -> TrainingState:
    if checkpoint.get("version") != _VERSION:
        raise TrainingError("the checkpoint was written by another version; delete it to train anew")
    known = checkpoint["job"]
    changed = [part for part, text in job_parts.items() if known.get(part) != text]
    if changed:
        raise TrainingError(
            f"the checkpoint belongs to a training with other settings ({', '.join(changed)}); "
            "restore those settings to resume it, or delete it to train anew"
        )
    return TrainingState(
        history=[EpochRecord(**record) for record in checkpoint["history"]],
        losses=list(checkpoint["losses"]),
        skipped=checkpoint["skipped"],
        seconds=checkpoint["seconds"],
    )
