"""Training: cases and a plan's configuration in, weights out. Source: method.md section 15."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from segflow.contracts.case import CaseReader, CheckpointStore, Progress, Stop
from segflow.contracts.errors import Interrupted, TrainingError
from segflow.network.device import keep_freed_memory
from segflow.recipes.training import TrainingRecipe
from segflow.training.batches import Batch, BatchMaker
from segflow.training.checks import check_cases, check_devices, check_patch
from segflow.training.job import TrainingJob, batch_maker, make_learner
from segflow.training.keeping import Keeper
from segflow.training.monitor import EpochRecord, moving_mean, pseudo_dice
from segflow.training.parallel import run_ranks
from segflow.training.schedule import is_over, polynomial_learning_rate
from segflow.training.state import Memory, copied, remembered, restore_
from segflow.training.step import Learner
from segflow.training.team import ALONE, Team
from segflow.training.workers import open_batches

__all__ = ["TrainingResult", "train"]

logger = logging.getLogger("segflow")


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A trained network.

    Attributes:
        weights: After the last epoch; these are the ones to use.
        best_weights: Of the epoch with the highest moving mean of the pseudo-Dice.
        history: One record per epoch; fewer than asked for if patience has ended the training.
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
    devices: Sequence[str] = (),
) -> TrainingResult:
    """Train a network, going on from the last checkpoint if there is one.

    The same job gives the same weights on the same CPU, interrupted or not, whatever the number of workers. On several
    devices each batch is shared out, in a process per device, and the result is that of one device but for rounding:
    sums are made in another order. So a training may go on with another number of devices than it began with.

    Args:
        job: What to do.
        reader: Gives preprocessed cases.
        checkpoints: Keeps the state after every epoch, in a long epoch also between two steps, and when a stop is asked
            for. With several devices one of the
            processes saves, so a copy in another process must mean the same place, as a file's name does.
        progress: Moves on by one per training batch.
        stop: Asked after every training step.
        devices: To share the work among, such as ("cuda:0", "cuda:1"); by default the job's alone.

    Returns:
        The weights and the history.

    Raises:
        TrainingError: There is nothing to train on, a case cannot be read, the checkpoint belongs to another
            training, a data worker or the process of a device died, or the loss is not a number.
        Interrupted: A stop was asked for; the state after the last step has been saved.

    Source: method.md section 15; resuming is ours.
    """
    devices = tuple(devices) or (job.device,)
    _check(job, reader, devices)
    if len(devices) == 1:
        job = replace(job, device=devices[0])
        memory, learner = _train(ALONE, progress, stop or _never, job, reader, checkpoints)
        weights = learner.network.state_dict()
    else:
        arguments = (job, reader, checkpoints)
        run_ranks(_train_share, arguments, devices=devices, progress=progress, stop=stop or _never)
        checkpoint = checkpoints.load() or {}
        memory, weights = remembered(checkpoint), checkpoint["network"]
    return TrainingResult(
        weights=copied(weights), best_weights=memory.best_weights, history=tuple(memory.history)
    )


def _train_share(
    team: Team,
    progress: Progress,
    stop: Stop,
    job: TrainingJob,
    reader: CaseReader,
    checkpoints: CheckpointStore,
) -> None:
    """One of several processes."""
    workers = len(range(team.rank, job.workers, team.size))
    job = replace(job, device=team.device, workers=max(workers, min(job.workers, 1)))
    _train(team, progress, stop, job, reader, checkpoints)


def _train(
    team: Team,
    progress: Progress,
    stop: Stop,
    job: TrainingJob,
    reader: CaseReader,
    checkpoints: CheckpointStore,
) -> tuple[Memory, Learner]:
    """What every process of a training does; the first one writes."""
    keep_freed_memory()
    maker = batch_maker(job, reader, team)
    checkpoint = checkpoints.load()
    done, begun = _position(checkpoint)
    epochs = job.training.epochs
    with (
        open_batches(
            maker, first=done * maker.per_epoch + begun, stop=epochs * maker.per_epoch, workers=job.workers
        ) as batches,
        torch.backends.cudnn.flags(enabled=True, benchmark=True),
    ):
        learner = make_learner(job, team)
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
            stop=stop,
            team=team,
            keeper=Keeper(checkpoints, job, team),
        )
        try:
            while not is_over(memory.history, job.training):
                run.epoch()
                run.save()
        except Interrupted:
            run.save()
            raise
    _tell_end(memory, job.training, progress)
    return memory, learner


def _tell_end(memory: Memory, recipe: TrainingRecipe, progress: Progress) -> None:
    """Steps that patience has spared are steps done."""
    done = len(memory.history)
    if done < recipe.epochs:
        logger.info("ended after %d of %d epochs: no gain for %d", done, recipe.epochs, recipe.patience)
        note = f"ended early, after epoch {done}/{recipe.epochs}"
        progress.advance((recipe.epochs - done) * recipe.iterations, note=note)


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
    team: Team
    keeper: Keeper

    def save(self) -> None:
        """Keep the state as it is now."""
        self.keeper.save(self.learner, self.memory)

    def epoch(self) -> None:
        """Train, look at the validation patches, and remember both."""
        began = time.perf_counter()
        epoch = len(self.memory.history)
        learning_rate = polynomial_learning_rate(
            epoch,
            epochs=self.recipe.schedule_epochs or self.recipe.epochs,
            initial=self.recipe.learning_rate,
            exponent=self.recipe.schedule_exponent,
        )
        self.learner.set_learning_rate(learning_rate)
        losses = self.memory.losses
        while len(losses) < self.maker.iterations:
            losses.append(self._learn(epoch, len(losses)))
            if self.team.any(self.stop()):
                self.memory.seconds += time.perf_counter() - began
                raise Interrupted
            if self.keeper.is_due:
                self.memory.seconds += time.perf_counter() - began
                began = time.perf_counter()
                self.save()
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
        loss = self.learner.learn(self._next_batch())
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} in epoch {epoch}, iteration {iteration}: training has diverged, or a "
                "case holds NaN or infinite intensities; check the images, or lower the learning rate"
            )
        self.progress.advance(1, note=self._note(epoch, loss))
        return loss

    def _next_batch(self) -> Batch:
        try:
            return next(self.batches)
        except TrainingError:
            if self.stop():  # a cluster's SIGTERM goes to the data workers as well
                raise Interrupted from None
            raise

    def _judge(self) -> tuple[float, Tensor]:
        """Mean loss and summed overlap counts of the epoch's validation batches."""
        judged = [self.learner.judge(next(self.batches)) for _ in range(self.maker.validation_iterations)]
        if not judged:
            return math.nan, torch.zeros(3, len(self.maker.settings.labels.targets), dtype=torch.int64)
        losses, counts = zip(*judged, strict=True)
        return sum(losses) / len(losses), self.team.sum(torch.stack(counts).sum(0))

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


def _check(job: TrainingJob, reader: CaseReader, devices: Sequence[str]) -> None:
    """Refuse what cannot be trained, before any process is started."""
    configuration, recipe = job.configuration, job.training
    if min(configuration.batch_size, recipe.epochs, recipe.iterations) < 1:
        raise TrainingError(
            "batch size, epochs and iterations must be at least 1, found "
            f"{configuration.batch_size}, {recipe.epochs} and {recipe.iterations}"
        )
    check_devices(devices, batch_size=configuration.batch_size)
    check_patch(configuration)
    check_cases(job.fold, reader, configuration=configuration, channels=job.channels)
