"""The state of a training: the epochs so far, and the checkpoint from which it goes on as if it had never stopped."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from torch import Tensor

from segflow.contracts.errors import TrainingError
from segflow.training.monitor import EpochRecord
from segflow.training.step import Learner

__all__ = ["TrainingState", "make_checkpoint", "position_of", "restore_", "state_of"]

_VERSION: Final = 2


@dataclass
class TrainingState:
    """What a training has done so far.

    Attributes:
        history: One record per finished epoch.
        best_ema: Highest moving mean of the pseudo-Dice so far.
        best_weights: Of that epoch.
        losses: Of the training batches of the unfinished epoch.
        seconds: Spent on the unfinished epoch.
    """

    history: list[EpochRecord] = field(default_factory=list)
    best_ema: float | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, record: EpochRecord, weights: Mapping[str, Tensor]) -> None:
        """Add a finished epoch, with a copy of its weights if they are the best so far.

        A first epoch without any Dice can be beaten. Source: method.md section 15.
        """
        self.history.append(record)
        self.losses, self.seconds = [], 0.0
        if not self.best_weights or self.best_ema is None or record.ema > self.best_ema:
            self.best_ema = None if math.isnan(record.ema) else record.ema
            self.best_weights = _copied(weights)


def _copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, and unchanged by later steps."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}


def make_checkpoint(learner: Learner, state: TrainingState, job_parts: Mapping[str, str]) -> dict[str, Any]:
    """Everything that a training needs to go on, of tensors and plain values only.

    Batches need no state: they are made from their number.

    Args:
        learner: Network and optimiser, between two steps.
        state: The epochs so far.
        job_parts: `TrainingJob.parts`.
    """
    return {
        "version": _VERSION,
        "job": dict(job_parts),
        "network": _copied(learner.network.state_dict()),
        "optimizer": copy.deepcopy(learner.optimizer.state_dict()),
        "scaler": learner.scaler.state_dict(),
        "history": [asdict(record) | {"pseudo_dice": list(record.pseudo_dice)} for record in state.history],
        "best_ema": state.best_ema,
        "best_weights": state.best_weights,
        "losses": state.losses,
        "seconds": state.seconds,
    }


def position_of(checkpoint: Mapping[str, Any] | None) -> tuple[int, int]:
    """Finished epochs, and training batches of the unfinished one."""
    checkpoint = checkpoint or {}
    return len(checkpoint.get("history", ())), len(checkpoint.get("losses", ()))


def restore_(checkpoint: Mapping[str, Any], learner: Learner, job_parts: Mapping[str, str]) -> TrainingState:
    """Give a new learner the weights and the optimiser's state of a checkpoint, and return the epochs so far.

    Raises:
        TrainingError: The checkpoint belongs to another training.
    """
    if checkpoint.get("version") != _VERSION:
        raise TrainingError("the checkpoint was written by another version; delete it to train anew")
    known = checkpoint["job"]
    changed = [part for part, text in job_parts.items() if known.get(part) != text]
    if changed:
        raise TrainingError(
            f"the checkpoint belongs to a training with other settings ({', '.join(changed)}); "
            "restore those settings to resume it, or delete it to train anew"
        )
    learner.network.load_state_dict(checkpoint["network"])
    learner.optimizer.load_state_dict(checkpoint["optimizer"])
    learner.scaler.load_state_dict(checkpoint["scaler"])
    return state_of(checkpoint)


def state_of(checkpoint: Mapping[str, Any]) -> TrainingState:
    """The epochs so far, of a checkpoint."""
    history = [
        EpochRecord(**(record | {"pseudo_dice": tuple(record["pseudo_dice"])}))
        for record in checkpoint["history"]
    ]
    return TrainingState(
        history,
        checkpoint["best_ema"],
        dict(checkpoint["best_weights"]),
        list(checkpoint["losses"]),
        checkpoint["seconds"],
    )
