"""What a checkpoint holds: enough to go on as if training had never stopped."""

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

__all__ = ["Memory", "checkpoint_from", "copied", "remembered", "restore_"]

_VERSION: Final = 2


@dataclass
class Memory:
    """What a training remembers of the epochs behind it.

    Attributes:
        history: One record per epoch done.
        best_ema: Highest moving mean of the pseudo-Dice so far.
        best_weights: Of that epoch.
        losses: Of the training batches of an epoch that is not finished.
        seconds: That epoch has taken.
    """

    history: list[EpochRecord] = field(default_factory=list)
    best_ema: float | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, record: EpochRecord, weights: Mapping[str, Tensor]) -> None:
        """Remember an epoch, and its weights if they are the best so far.

        Args:
            record: Of the epoch.
            weights: At its end; copied.

        Source: method.md section 15; a first epoch without any Dice can be beaten (ours).
        """
        self.history.append(record)
        self.losses, self.seconds = [], 0.0
        if not self.best_weights or self.best_ema is None or record.ema > self.best_ema:
            self.best_ema = None if math.isnan(record.ema) else record.ema
            self.best_weights = copied(weights)


def copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights on the CPU that later steps don't change.

    Args:
        weights: A network's state.
    """
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}


def checkpoint_from(learner: Learner, memory: Memory, job_parts: Mapping[str, str]) -> dict[str, Any]:
    """The state of a training between two steps, of tensors and plain values only.

    Batches need no state: they are made from their number.

    Args:
        learner: Network and optimiser.
        memory: The epochs behind, and the one begun.
        job_parts: What the training was asked to do, as text per part.
    """
    return {
        "version": _VERSION,
        "job": dict(job_parts),
        "network": copied(learner.network.state_dict()),
        "optimizer": copy.deepcopy(learner.optimizer.state_dict()),
        "scaler": learner.scaler.state_dict(),
        "history": [asdict(record) | {"pseudo_dice": list(record.pseudo_dice)} for record in memory.history],
        "best_ema": memory.best_ema,
        "best_weights": memory.best_weights,
        "losses": memory.losses,
        "seconds": memory.seconds,
    }


def restore_(checkpoint: Mapping[str, Any], learner: Learner, job_parts: Mapping[str, str]) -> Memory:
    """Bring a learner to the state of a checkpoint.

    Args:
        checkpoint: As of `checkpoint_from`.
        learner: Freshly made; is changed.
        job_parts: What this training is asked to do.

    Returns:
        The epochs behind, and the one begun.

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
    return remembered(checkpoint)


def remembered(checkpoint: Mapping[str, Any]) -> Memory:
    """What a checkpoint holds beside the state of network and optimiser.

    Args:
        checkpoint: As of `checkpoint_from`.
    """
    history = [
        EpochRecord(**(record | {"pseudo_dice": tuple(record["pseudo_dice"])}))
        for record in checkpoint["history"]
    ]
    return Memory(
        history,
        checkpoint["best_ema"],
        dict(checkpoint["best_weights"]),
        list(checkpoint["losses"]),
        checkpoint["seconds"],
    )
