"""Training: cases and a plan's configuration in, weights out. Source: method.md section 15."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from segflow.contracts.case import CaseReader, CheckpointStore, Progress, Stop
from segflow.contracts.errors import Interrupted, TrainingError
from segflow.network.device import keep_freed_memory
from segflow.network.group import Group
from segflow.training.batches import Batch, BatchMaker
from segflow.training.job import TrainingJob, check_job
from segflow.training.monitor import EpochRecord, is_over, moving_mean, pseudo_dice
from segflow.training.parallel import run_ranks
from segflow.training.state import TrainingState, make_checkpoint, state_of
from segflow.training.step import Learner
from segflow.training.workers import open_batches

__all__ = ["TrainingResult", "train", "train_in_group"]

logger = logging.getLogger("segflow")


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A trained network.

    Attributes:
        weights: After the last epoch; these are the ones to use.
        best_weights: Of the epoch with the highest moving mean of the pseudo-Dice.
        history: One record per epoch; fewer than asked for if training ended early.
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
    """Train a network, resuming from the last checkpoint if there is one.

    The same job gives the same weights on the same CPU, interrupted or not, whatever the number of workers. On several
    devices each batch is divided among a process per device, and the result is that of one device except for rounding:
    sums are made in another order. So a training can be resumed on another number of devices.

    Args:
        job: What to train.
        reader: Reads preprocessed cases.
        checkpoints: Receives the state after every epoch, in a long epoch also between two steps, and when a stop is
            requested. With several devices a copy in another process saves it, so it must be a file or the like.
        progress: Advances by one per training batch.
        stop: Asked after every training step.
        devices: To divide the work among, such as ("cuda:0", "cuda:1"); by default the job's device.

    Raises:
        TrainingError: There is nothing to train on, a case cannot be read, the checkpoint belongs to another
            training, a data worker or the process of a device died, or the loss is not finite.
        Interrupted: A stop was requested; the state after the last step has been saved.
    """
    devices = tuple(devices) or (job.device,)
    check_job(job, reader, devices)
    stop = stop or (lambda: False)
    if len(devices) == 1:
        train_in_group(Group(device=devices[0]), progress, stop, job, reader, checkpoints)
    else:
        arguments = (job, reader, checkpoints)
        run_ranks(train_in_group, arguments, devices=devices, progress=progress, stop=stop)
    checkpoint = checkpoints.load() or {}
    state = state_of(checkpoint, job.parts)
    return TrainingResult(
        weights=checkpoint["network"], best_weights=state.best_weights, history=tuple(state.history)
    )


def train_in_group(
    group: Group,
    progress: Progress,
    stop: Stop,
    job: TrainingJob,
    reader: CaseReader,
    checkpoints: CheckpointStore,
) -> tuple[TrainingState, Learner]:
    """What every process of a training does, on the group's device and with its share of the workers."""
    keep_freed_memory()
    workers = len(range(group.rank, job.workers, group.size))
    job = replace(job, device=group.device, workers=max(workers, min(job.workers, 1)))
    maker = BatchMaker(job, reader, group)
    checkpoint = checkpoints.load()
    state = state_of(checkpoint, job.parts)
    done, begun = len(state.history), len(state.losses)
    first, end = done * maker.per_epoch + begun, job.training.epochs * maker.per_epoch
    with (
        open_batches(maker, first=first, stop=end, workers=job.workers) as batches,
        torch.backends.cudnn.flags(enabled=True, benchmark=True),
    ):
        learner = Learner(job, group)
        if checkpoint is not None:
            learner.restore_(checkpoint)
            del checkpoint  # to free its memory
            logger.info("resumed after epoch %d, iteration %d", done, begun)
            progress.advance(done * maker.iterations + begun, note=f"resumed after epoch {done}")
        run = _Run(job, group, maker, batches, learner, state, progress, stop, checkpoints)
        try:
            while not is_over(state.history, job.training):
                run.epoch()
                run.save()
        except Interrupted:
            run.save()
            raise
    epochs, done = job.training.epochs, len(state.history)
    if done < epochs:
        logger.info("ended after %d of %d epochs: no gain for %d", done, epochs, job.training.patience)
        note = f"ended early, after epoch {done}/{epochs}"
        progress.advance((epochs - done) * maker.iterations, note=note)  # so that the bar is full
    return state, learner


@dataclass
class _Run:
    """One training in progress, in one process."""

    job: TrainingJob
    group: Group
    maker: BatchMaker
    batches: Iterator[Batch]
    learner: Learner
    state: TrainingState
    progress: Progress
    stop: Stop
    checkpoints: CheckpointStore

    def __post_init__(self) -> None:
        self._saved = time.monotonic()
        self._counted = time.perf_counter()  # up to here the state's seconds are counted

    def save(self) -> None:
        """Save the state as it is now; the first process of a group does."""
        if self.group.rank == 0:
            self.checkpoints.save(make_checkpoint(self.learner.state(), self.state, self.job.parts))
        self._saved = time.monotonic()

    def epoch(self) -> None:
        """Train, score the validation patches, and add both to the state."""
        self._counted = time.perf_counter()
        epoch, state = len(self.state.history), self.state
        learning_rate = self.learner.begin_epoch(epoch)
        while len(state.losses) < self.maker.iterations:
            state.losses.append(self._learn(epoch, len(state.losses)))
            self._count_seconds()
            if self.group.any(self.stop()):
                raise Interrupted
            if time.monotonic() - self._saved >= self.job.checkpoint_s:
                self.save()
        validation_loss, counts = self._validate()
        self._count_seconds()
        dice, mean = pseudo_dice(counts)
        record = EpochRecord(
            epoch=epoch,
            learning_rate=learning_rate,
            train_loss=sum(state.losses) / len(state.losses),
            validation_loss=validation_loss,
            pseudo_dice=dice,
            mean=mean,
            ema=moving_mean(state.history[-1].ema if state.history else None, mean),
            seconds=state.seconds,
        )
        state.add(record, self.learner.weights())

    def _count_seconds(self) -> None:
        now = time.perf_counter()
        self.state.seconds += now - self._counted
        self._counted = now

    def _learn(self, epoch: int, iteration: int) -> float:
        loss = self.learner.learn(next(self.batches))
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} in epoch {epoch}, iteration {iteration}: training has diverged, or a "
                "case holds NaN or infinite intensities; check the images, or lower the learning rate"
            )
        note = f"epoch {epoch + 1}/{self.job.training.epochs} loss {loss:.3f}"
        if self.state.history:
            note += f" dice {' '.join(f'{dice:.3f}' for dice in self.state.history[-1].pseudo_dice)}"
        self.progress.advance(1, note=note)
        return loss

    def _validate(self) -> tuple[float, Tensor]:
        """Mean loss and summed overlap counts of the epoch's validation batches."""
        scores = [self.learner.score(next(self.batches)) for _ in range(self.maker.validation_iterations)]
        if not scores:
            return math.nan, torch.zeros(3, len(self.job.labels.targets), dtype=torch.int64)
        losses, counts = zip(*scores, strict=True)
        return sum(losses) / len(losses), self.group.sum(torch.stack(counts).sum(0))
