"""Training: cases and a plan's configuration in, weights out. Source: method.md section 15."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from segflow.contracts.case import CaseReader, CheckpointStore, Progress, Stop
from segflow.contracts.errors import Interrupted, TrainingError
from segflow.network.device import algorithms, keep_freed_memory
from segflow.network.group import Group
from segflow.training.batches import BatchMaker
from segflow.training.job import TrainingJob, check_job
from segflow.training.monitor import EpochRecord, is_over, moving_mean, pseudo_dice
from segflow.training.optimizer import learning_rate
from segflow.training.parallel import run_ranks
from segflow.training.state import TrainingState, damage_said, make_checkpoint, state_of
from segflow.training.step import Learner
from segflow.training.transfer import Loaded, Outcome, loaded_ahead
from segflow.training.workers import open_batches

__all__ = ["TrainingResult", "train", "train_in_group"]

logger = logging.getLogger("segflow")

#: Steps in a row whose gradients may overflow in half precision. After this many their scale, halved each time, is that
#: of float16's smallest numbers.
_MOST_SKIPPED: Final = 20
#: Steps that may be queued on a device before this process waits for the results of the first.
_STEPS_AHEAD: Final = {"cpu": 0, "cuda": 1}


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A trained network.

    Attributes:
        weights: After the last epoch.
        history: One record per epoch; fewer than asked for if training ended early.
    """

    weights: dict[str, Tensor]
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
        stop: Asked before every training step, which is then the last one.
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
    return TrainingResult(
        weights=checkpoint["network"], history=tuple(state_of(checkpoint, job.parts).history)
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
        algorithms(deterministic=job.deterministic),
    ):
        group.join()  # after the workers were forked
        learner = Learner(job, group)
        if checkpoint is not None:
            with damage_said():
                learner.restore_(checkpoint)
            del checkpoint  # to free its memory
            logger.info("resumed after epoch %d, iteration %d", done, begun)
            progress.advance(done * maker.iterations + begun, note=f"resumed after epoch {done}")
        loaded = loaded_ahead(batches, torch.device(job.device))
        run = _Run(job, group, maker, loaded, learner, state, progress, stop, checkpoints)
        try:
            while not is_over(state.history, job.training):
                run.epoch()
                run.save()
        except Interrupted:
            run.save()
            raise
    logger.info("the device waited for data %.0f %% of the time", 100 * run.waiting)
    _say_ended_early(job, state, maker, progress)
    return state, learner


def _say_ended_early(job: TrainingJob, state: TrainingState, maker: BatchMaker, progress: Progress) -> None:
    epochs, done = job.training.epochs, len(state.history)
    if done < epochs:
        logger.info("ended after %d of %d epochs: no gain for %d", done, epochs, job.training.patience)
        note = f"ended early, after epoch {done}/{epochs}"
        progress.advance((epochs - done) * maker.iterations, note=note)  # so that the bar is full


@dataclass
class _Run:
    """One training in progress, in one process."""

    job: TrainingJob
    group: Group
    maker: BatchMaker
    batches: Iterator[Loaded]
    learner: Learner
    state: TrainingState
    progress: Progress
    stop: Stop
    checkpoints: CheckpointStore

    def __post_init__(self) -> None:
        self._saved = time.monotonic()
        self._counted = time.perf_counter()  # up to here the state's seconds are counted
        self._unread: deque[Outcome] = deque()
        self._last: Outcome | None = None
        self._skipped_in_row, self._is_stopping = 0, False
        self.waited_s = self.computed_s = 0.0

    def save(self) -> None:
        """Save the state as it is now; the first process of a group does."""
        if self.group.rank == 0:
            self.checkpoints.save(make_checkpoint(self.learner.state(), self.state, self.job.parts))
        self._saved = time.monotonic()

    def epoch(self) -> None:
        """Train, score the validation patches, and add both to the state."""
        self._counted = time.perf_counter()
        epoch, state = len(self.state.history), self.state
        for iteration in range(len(state.losses), self.maker.iterations):
            self.learner.begin_step(epoch, iteration)
            self._unread.append(self.learner.learn(next(self.batches), stop=self.stop()))
            self._read(leave=_STEPS_AHEAD[torch.device(self.group.device).type])
            self._count_seconds()
            if self._is_stopping:
                break
            if time.monotonic() - self._saved >= self.job.checkpoint_s:
                self._read()
                self.save()
        self._read()
        if self._is_stopping:
            raise Interrupted
        self._last = None  # scoring is no waiting
        validation_loss, counts = self._validate()
        self._count_seconds()
        dice, mean = pseudo_dice(counts)
        finite = [loss for loss in state.losses if math.isfinite(loss)]
        record = EpochRecord(
            epoch=epoch,
            learning_rate=learning_rate(self.job.training, epoch),
            train_loss=sum(finite) / len(finite) if finite else math.nan,
            validation_loss=validation_loss,
            pseudo_dice=dice,
            mean=mean,
            ema=moving_mean(state.history[-1].ema if state.history else None, mean),
            skipped=state.skipped,
            seconds=state.seconds,
        )
        state.add(record)

    def _count_seconds(self) -> None:
        now = time.perf_counter()
        self.state.seconds += now - self._counted
        self._counted = now

    def _read(self, *, leave: int = 0) -> None:
        """Read the results of all steps but the last ones, which the device may still be computing."""
        while len(self._unread) > leave:
            outcome = self._unread.popleft()
            loss, norm, stops = outcome.read()
            self._is_stopping |= stops > 0
            waited_s, computed_s = outcome.seconds(self._last)
            self.waited_s += waited_s
            self.computed_s += computed_s
            self._last = outcome
            self._count_skipped(loss, norm)
            self.state.losses.append(loss)
            self._show(loss)

    def _count_skipped(self, loss: float, norm: float) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            self._skipped_in_row = 0
            return
        self._skipped_in_row += 1
        self.state.skipped += 1
        if self.learner.may_skip and self._skipped_in_row <= _MOST_SKIPPED:
            return
        what = "the gradients are not finite" if math.isfinite(loss) else f"the loss is {loss}"
        repeated = f", as in the {_MOST_SKIPPED} before it" if self.learner.may_skip else ""
        raise TrainingError(
            f"{what} in epoch {len(self.state.history)}, iteration {len(self.state.losses)}{repeated}: training has "
            "diverged, or a case holds NaN or infinite intensities; check the images, or lower the learning rate"
        )

    def _show(self, loss: float) -> None:
        note = f"epoch {len(self.state.history) + 1}/{self.job.training.epochs} loss {loss:.3f}"
        if self.state.history:
            note += f" dice {' '.join(f'{dice:.3f}' for dice in self.state.history[-1].pseudo_dice)}"
        if self.group.device != "cpu":
            note += f" waiting {self.waiting:.0%}"
        self.progress.advance(1, note=note)

    @property
    def waiting(self) -> float:
        """Share of the time of training steps in which the device waited for this process, mostly for a batch."""
        return self.waited_s / max(self.waited_s + self.computed_s, 1e-9)

    def _validate(self) -> tuple[float, Tensor]:
        """Mean loss and summed overlap counts of the epoch's validation batches."""
        scores = [self.learner.score(next(self.batches)) for _ in range(self.maker.validation_iterations)]
        if not scores:
            return math.nan, torch.zeros(3, len(self.job.labels.targets), dtype=torch.int64)
        losses, counts = zip(*scores, strict=True)
        return sum(losses) / len(losses), self.group.sum(torch.stack(counts).sum(0))
