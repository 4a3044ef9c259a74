"""Training: cases and a plan's configuration in, weights out. Source: method.md section 15."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from segflow.contracts.errors import Interrupted, TrainingError
from segflow.contracts.protocols import CaseReader, CheckpointStore, Progress, Stop
from segflow.recipes.training import TrainingRecipe
from segflow.training.batches import Batch, BatchMaker
from segflow.training.checks import check_cases, check_patch
from segflow.training.job import TrainingJob, batch_maker, make_learner
from segflow.training.monitor import EpochRecord, moving_mean, pseudo_dice
from segflow.training.schedule import polynomial_learning_rate
from segflow.training.state import Memory, checkpoint_from, copied, restore_
from segflow.training.step import Learner
from segflow.training.workers import open_batches

__all__ = ["TrainingResult", "train"]

logger = logging.getLogger("segflow")


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A trained network.

    Attributes:
        weights: After the last epoch; these are the ones to use.
        best_weights: Of the epoch with the highest moving mean of the pseudo-Dice.
        history: One record per epoch.
    """

    weights: dict[str, Tensor]
    best_weights: dict[str, Tensor]
    history: tuple[EpochRecord, ...]


def train(
    job: TrainingJob,
    reader: CaseReader,
    checkpoints: CheckpointStore,
    progress: Progress,
    *,
    stop: Stop | None = None,
) -> TrainingResult:
    """Train a network, going on from the last checkpoint if there is one.

    The same job gives the same weights on the same CPU, interrupted or not, whatever the number of workers.

    Args:
        job: What to do.
        reader: Gives preprocessed cases.
        checkpoints: Keeps the state after every epoch, and when a stop is asked for.
        progress: Moves on by one per training batch.
        stop: Asked after every training step.

    Returns:
        The weights and the history.

    Raises:
        TrainingError: There is nothing to train on, a case cannot be read, the checkpoint belongs to another
            training, a data worker died, or the loss is not a number.
        Interrupted: A stop was asked for; the state after the last step has been saved.

    Source: method.md section 15; resuming is ours.
    """
    _check(job, reader)
    maker = batch_maker(job, reader)
    checkpoint = checkpoints.load()
    done, begun = _position(checkpoint)
    epochs = job.training.epochs
    with (
        open_batches(
            maker, first=done * maker.per_epoch + begun, stop=epochs * maker.per_epoch, workers=job.workers
        ) as batches,
        torch.backends.cudnn.flags(enabled=True, benchmark=True),
    ):
        learner = make_learner(job)
        memory = Memory() if checkpoint is None else restore_(checkpoint, learner, job.parts)
        del checkpoint
        if done or begun:
            logger.info("resumed after epoch %d, iteration %d", done, begun)
            progress.advance(done * maker.iterations + begun, note=f"resumed after epoch {done}")
        run = _Run(
            maker=maker,
            batches=batches,
            learner=learner,
            memory=memory,
            recipe=job.training,
            progress=progress,
            stop=stop or _never,
        )
        try:
            while len(memory.history) < epochs:
                run.epoch()
                checkpoints.save(checkpoint_from(learner, memory, job.parts))
        except Interrupted:
            checkpoints.save(checkpoint_from(learner, memory, job.parts))
            raise
    return TrainingResult(
        weights=copied(learner.network.state_dict()),
        best_weights=memory.best_weights,
        history=tuple(memory.history),
    )


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One training under way."""

    maker: BatchMaker
    batches: Iterator[Batch]
    learner: Learner
    memory: Memory
    recipe: TrainingRecipe
    progress: Progress
    stop: Stop

    def epoch(self) -> None:
        """Train, look at the validation patches, and remember both."""
        began = time.perf_counter()
        epoch = len(self.memory.history)
        learning_rate = polynomial_learning_rate(
            epoch,
            epochs=self.recipe.epochs,
            initial=self.recipe.learning_rate,
            exponent=self.recipe.schedule_exponent,
        )
        self.learner.set_learning_rate(learning_rate)
        losses = self.memory.losses
        while len(losses) < self.maker.iterations:
            losses.append(self._learn(epoch, len(losses)))
            if self.stop():
                self.memory.seconds += time.perf_counter() - began
                raise Interrupted
        validation_loss, counts = self._judge()
        dice, mean = pseudo_dice(counts)
        previous = self.memory.history[-1].ema if self.memory.history else None
        record = EpochRecord(
            epoch=epoch,
            learning_rate=learning_rate,
            train_loss=sum(losses) / len(losses),
            validation_loss=validation_loss,
            pseudo_dice=dice,
            mean=mean,
            ema=moving_mean(previous, mean),
            seconds=self.memory.seconds + time.perf_counter() - began,
        )
        self.memory.add(record, self.learner.network.state_dict())

    def _learn(self, epoch: int, iteration: int) -> float:
        loss = self.learner.learn(next(self.batches))
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} in epoch {epoch}, iteration {iteration}: training has diverged, or a "
                "case holds NaN or infinite intensities; check the images, or lower the learning rate"
            )
        self.progress.advance(1, note=self._note(epoch, loss))
        return loss

    def _judge(self) -> tuple[float, Tensor]:
        """Mean loss and summed overlap counts of the epoch's validation batches."""
        judged = [self.learner.judge(next(self.batches)) for _ in range(self.maker.validation_iterations)]
        if not judged:
            return math.nan, torch.zeros(3, len(self.maker.settings.labels.targets), dtype=torch.int64)
        losses, counts = zip(*judged, strict=True)
        return sum(losses) / len(losses), torch.stack(counts).sum(0)

    def _note(self, epoch: int, loss: float) -> str:
        note = f"epoch {epoch + 1}/{self.recipe.epochs} loss {loss:.3f}"
        if not self.memory.history:
            return note
        last = self.memory.history[-1]
        return f"{note} dice {' '.join(f'{dice:.3f}' for dice in last.pseudo_dice)}"


def _never() -> bool:
    return False


def _position(checkpoint: dict[str, Any] | None) -> tuple[int, int]:
    """Epochs behind, and training batches of the epoch begun."""
    if checkpoint is None:
        return 0, 0
    return len(checkpoint.get("history", ())), len(checkpoint.get("losses", ()))


def _check(job: TrainingJob, reader: CaseReader) -> None:
    """Refuse what cannot be trained, before any process is started."""
    configuration, recipe = job.configuration, job.training
    if min(configuration.batch_size, recipe.epochs, recipe.iterations) < 1:
        raise TrainingError(
            "batch size, epochs and iterations must be at least 1, found "
            f"{configuration.batch_size}, {recipe.epochs} and {recipe.iterations}"
        )
    if job.device != "cpu" and not torch.cuda.is_available():
        raise TrainingError(f"device '{job.device}' was asked for, but torch finds no CUDA device; use 'cpu'")
    check_patch(configuration)
    check_cases(job.fold, reader, configuration=configuration, channels=job.channels)
