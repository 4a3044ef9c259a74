"""Batches by number: batch n of a training is a pure function of the seed and n.

So it does not matter which process makes a batch, in which order, or whether the training was interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from segflow.augmentation.batched import Pending, collect
from segflow.augmentation.patches import choose_locations, draw_start, read_patch
from segflow.augmentation.pipeline import (
    AugmentationDraw,
    Patch,
    Settings,
    augment,
    draw_augmentation,
    needed_box,
    plain,
)
from segflow.augmentation.targets import target_shapes
from segflow.contracts.arrays import LabelMap, Shape3
from segflow.contracts.case import CaseReader, TrainingCase
from segflow.network.group import SINGLE, Group
from segflow.training.job import TrainingJob

__all__ = ["Batch", "BatchMaker"]

_TRAINING: Final = 0
_VALIDATION: Final = 1
#: Value of voxels beyond the border of a case. Source: method.md section 12.
_PAD_IMAGE: Final = 0
_PAD_LABELS: Final = -1


@dataclass(frozen=True)
class Batch:
    """Arrays of some patches.

    Attributes:
        image: (b, c, *patch), float32.
        targets: Per scored output, full resolution first: classes (b, *shape), int16, or regions
            (b, r, *shape), boolean.
        pending: If the device augments: what is to be done there, to `image` and `targets` as of `collect`, to get
            those above.
    """

    image: NDArray[np.float32]
    targets: tuple[NDArray[np.generic], ...]
    pending: Pending | None = None


class BatchMaker:
    """Makes any batch of a training, or one process's share of it. Source: method.md sections 12 and 13."""

    def __init__(self, job: TrainingJob, reader: CaseReader, group: Group = SINGLE) -> None:
        self._job = replace(job, pretrained=None)  # a copy goes to every worker process
        self._reader = reader
        self._positions = group.positions(job.configuration.batch_size)
        #: Training batches per epoch; the validation batches come after them, none without validation cases.
        self.iterations = job.training.iterations
        self.validation_iterations = job.training.validation_iterations if job.fold.val else 0
        configuration = job.configuration
        self._settings = Settings(
            recipe=job.augmentation,
            patch_shape=configuration.patch_shape,
            target_shapes=target_shapes(
                configuration.patch_shape,
                configuration.architecture.strides,
                n_scored=job.scales,
            ),
            labels=job.labels,
            zero_outside=configuration.mask_normalization,
            cascade=configuration.previous_stage is not None,
        )

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch, for training and for validation."""
        return self.iterations + self.validation_iterations

    def make(self, number: int) -> Batch:
        """Make one batch, counted over the whole training with the validation batches of each epoch."""
        epoch, index = divmod(number, self.per_epoch)
        stream = _TRAINING if index < self.iterations else _VALIDATION
        read = (self._read(stream, epoch, index, position) for position in self._positions)
        settings = self._settings
        if self._job.augment == "device":
            patches, draws = zip(*read, strict=True)
            pending, image, arrays = collect(patches, draws, settings)
            return Batch(image, arrays, pending)
        examples = [
            plain(patch, settings) if draw is None else augment(patch, draw, settings) for patch, draw in read
        ]
        targets = zip(*(example.targets for example in examples), strict=True)
        return Batch(
            image=torch.stack([example.image for example in examples]).numpy(),
            targets=tuple(torch.stack(scale).numpy() for scale in targets),
        )

    def _read(
        self, stream: int, epoch: int, index: int, position: int
    ) -> tuple[Patch, AugmentationDraw | None]:
        """One patch, and the transforms drawn for it: none for validation."""
        sequence = np.random.SeedSequence(self._job.seed, spawn_key=(stream, epoch, index, position))
        rng = np.random.Generator(np.random.Philox(sequence))
        training = stream == _TRAINING
        identifiers = self._job.fold.train if training else self._job.fold.val
        case = self._reader.read(identifiers[int(rng.integers(len(identifiers)))])
        settings, patch_shape = self._settings, self._settings.patch_shape
        forced = position >= self._job.training.first_forced(self._job.configuration.batch_size)
        read_shape = settings.read_shape if training else patch_shape
        start = draw_start(
            rng,
            _shape3(case.labels.shape),
            read_shape=_shape3(read_shape),
            patch_shape=_shape3(patch_shape),
            locations=choose_locations(case.locations, self._job.labels, forced=forced),
        )
        if not training:
            return self._cut(case, start, read_shape), None
        draw = draw_augmentation(rng, settings)
        first, shape = needed_box(draw, settings)
        offset = (0,) * (3 - len(first)) + first
        start = _shape3([s + f for s, f in zip(start, offset, strict=True)])
        return self._cut(case, start, shape), draw

    def _cut(self, case: TrainingCase, start: Shape3, shape: tuple[int, ...]) -> Patch:
        """Read a patch; a 2D one loses its first axis."""
        image = read_patch(case.image, start, _shape3(shape), fill=_PAD_IMAGE).astype(np.float32, copy=False)
        previous = case.previous_stage if self._settings.cascade else None
        return Patch(
            torch.from_numpy(image).reshape(len(image), *shape),
            _cut_labels(case.labels, start, shape),
            None if previous is None else _cut_labels(previous, start, shape),
        )


def _shape3(shape: tuple[int, ...] | list[int]) -> Shape3:
    z, y, x = (1,) * (3 - len(shape)) + tuple(shape)
    return z, y, x


def _cut_labels(labels: LabelMap, start: Shape3, shape: tuple[int, ...]) -> torch.Tensor:
    patch = read_patch(labels, start, _shape3(shape), fill=_PAD_LABELS)
    return torch.from_numpy(patch.astype(np.int16, copy=False)).reshape(shape)
