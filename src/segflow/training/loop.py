"""Training: cases and a plan's configuration in, weights out. Source: method.md section 15."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from segflow.augmentation import Settings, target_shapes
from segflow.contracts.errors import TrainingError
from segflow.contracts.folds import Fold
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Configuration
from segflow.contracts.protocols import CaseReader, CheckpointStore, Progress
from segflow.losses import build_loss
from segflow.network import build_network
from segflow.recipes.recipe import Recipe
from segflow.recipes.training import TrainingRecipe
from segflow.training.batches import Batch, BatchMaker
from segflow.training.checks import check_cases, check_patch
from segflow.training.monitor import EpochRecord, moving_mean, pseudo_dice
from segflow.training.schedule import polynomial_learning_rate
from segflow.training.state import Memory, checkpoint_from, copied, restore_
from segflow.training.step import Learner
from segflow.training.workers import open_batches

__all__ = ["TrainingJob", "TrainingResult", "train"]


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What to train, on what, and where.

    Attributes:
        configuration: Patch, batch, network.
        labels: Classes or regions.
        channels: Of the image, without those of a previous stage.
        fold: Cases to train on and to validate with.
        recipe: Fixed parameters of training and augmentation.
        device: "cpu", "cuda" or "cuda:0".
        seed: Of weights and batches.
        workers: Processes that make batches; 0 for none.
    """

    configuration: Configuration
    labels: Labels
    channels: int
    fold: Fold
    recipe: Recipe
    device: str
    seed: int
    workers: int

    @property
    def input_channels(self) -> int:
        """Channels of the network's input: a cascade adds one per foreground label."""
        cascade = self.configuration.previous_stage is not None
        return self.channels + (len(self.labels.foreground_values) if cascade else 0)

    @property
    def parts(self) -> dict[str, str]:
        """What decides the weights, as text per part; device and workers don't."""
        return {
            "configuration": self.configuration.model_dump_json(),
            "labels": repr(self.labels),
            "channels": str(self.channels),
            "fold": self.fold.model_dump_json(),
            "training recipe": self.recipe.training.model_dump_json(),
            "augmentation recipe": self.recipe.augmentation.model_dump_json(),
            "seed": str(self.seed),
        }


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
    job: TrainingJob, reader: CaseReader, checkpoints: CheckpointStore, progress: Progress
) -> TrainingResult:
    """Train a network, going on from the last checkpoint if there is one.

    The same job gives the same weights on the same CPU, interrupted or not, whatever the number of workers.

    Args:
        job: What to do.
        reader: Gives preprocessed cases.
        checkpoints: Keeps the state after every epoch.
        progress: Moves on by one per training batch.

    Returns:
        The weights and the history.

    Raises:
        TrainingError: There is nothing to train on, a case cannot be read, the checkpoint belongs to another
            training, a data worker died, or the loss is not a number.

    Source: method.md section 15; resuming is ours.
    """
    _check(job, reader)
    maker = _batch_maker(job, reader)
    checkpoint = checkpoints.load()
    done = 0 if checkpoint is None else len(checkpoint.get("history", ()))
    epochs = job.recipe.training.epochs
    with (
        open_batches(
            maker, first=done * maker.per_epoch, stop=epochs * maker.per_epoch, workers=job.workers
        ) as batches,
        torch.backends.cudnn.flags(enabled=True, benchmark=True),
    ):
        learner = _learner(job)
        memory = Memory() if checkpoint is None else restore_(checkpoint, learner, job.parts)
        del checkpoint
        if done:
            progress.advance(done * maker.iterations, note=f"resumed after epoch {done}")
        run = _Run(
            maker=maker,
            batches=batches,
            learner=learner,
            memory=memory,
            recipe=job.recipe.training,
            progress=progress,
        )
        while len(memory.history) < epochs:
            run.epoch()
            checkpoints.save(checkpoint_from(learner, memory, job.parts))
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
        losses = [self._learn(epoch, iteration) for iteration in range(self.maker.iterations)]
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
            seconds=time.perf_counter() - began,
        )
        self.memory.add(record, self.learner.network.state_dict())

    def _learn(self, epoch: int, iteration: int) -> float:
        loss = self.learner.learn(next(self.batches))
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} in epoch {epoch}, iteration {iteration}: training has diverged, or a case holds "
                "NaN or infinite intensities; check the images, or lower the learning rate"
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


def _learner(job: TrainingJob) -> Learner:
    configuration, recipe = job.configuration, job.recipe.training
    network = build_network(
        configuration.architecture,
        input_channels=job.input_channels,
        output_channels=job.labels.n_outputs,
        seed=job.seed,
    )
    n_scales = configuration.architecture.n_stages - 1 if recipe.deep_supervision else 1
    loss = build_loss(job.labels, batch_dice=configuration.batch_dice, n_scales=n_scales)
    return Learner(network, loss, recipe=recipe, labels=job.labels, device=job.device)


def _batch_maker(job: TrainingJob, reader: CaseReader) -> BatchMaker:
    configuration, recipe = job.configuration, job.recipe
    settings = Settings(
        recipe=recipe.augmentation,
        patch_shape=configuration.patch_shape,
        target_shapes=target_shapes(
            configuration.patch_shape,
            configuration.architecture.strides,
            deep_supervision=recipe.training.deep_supervision,
        ),
        labels=job.labels,
        zero_outside=configuration.mask_normalization,
        cascade=configuration.previous_stage is not None,
    )
    return BatchMaker(
        reader=reader,
        fold=job.fold,
        settings=settings,
        batch_size=configuration.batch_size,
        foreground_share=recipe.training.foreground_share,
        iterations=recipe.training.iterations,
        validation_iterations=recipe.training.validation_iterations if job.fold.val else 0,
        seed=job.seed,
    )


def _check(job: TrainingJob, reader: CaseReader) -> None:
    """Refuse what cannot be trained, before any process is started."""
    configuration, recipe = job.configuration, job.recipe.training
    if min(configuration.batch_size, recipe.epochs, recipe.iterations) < 1:
        raise TrainingError(
            "batch size, epochs and iterations must be at least 1, found "
            f"{configuration.batch_size}, {recipe.epochs} and {recipe.iterations}"
        )
    if job.device != "cpu" and not torch.cuda.is_available():
        raise TrainingError(f"device '{job.device}' was asked for, but torch finds no CUDA device; use 'cpu'")
    check_patch(configuration)
    check_cases(job.fold, reader, configuration=configuration, channels=job.channels)
