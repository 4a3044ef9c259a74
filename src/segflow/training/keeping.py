"""When the state of a training is saved: after every epoch, and within one when the last time was long ago."""

from __future__ import annotations

import time

from segflow.contracts.case import CheckpointStore
from segflow.training.job import TrainingJob
from segflow.training.state import Memory, checkpoint_from
from segflow.training.step import Learner
from segflow.training.team import Team

__all__ = ["Keeper"]


class Keeper:
    """Saves a training's state between two steps. All processes of a team have the same; the first one saves."""

    def __init__(self, checkpoints: CheckpointStore, job: TrainingJob, team: Team) -> None:
        self._checkpoints = checkpoints
        self._job = job
        self._team = team
        self._last = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last time was long ago."""
        return time.monotonic() - self._last >= self._job.checkpoint_s

    def save(self, learner: Learner, memory: Memory) -> None:
        """Save the state."""
        if self._team.leads:
            self._checkpoints.save(checkpoint_from(learner, memory, self._job.parts))
        self._last = time.monotonic()
