"""Batches by number: batch n of a training is a pure function of the seed and n.

It does not matter which process makes a batch, nor in which order, nor whether training was interrupted.

Source: ours (the peer's batches depend on the state of each worker process); method.md section 12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from segflow.augmentation.patches import annotated_target, draw_start, is_forced, read_patch
from segflow.augmentation.pipeline import (
    Example,
    Patch,
    Settings,
    augment,
    draw_augmentation,
    needed_box,
    plain,
)
from segflow.augmentation.spatial import initial_patch_shape
from segflow.contracts.arrays import LabelMap, Shape3, Voxels
from segflow.contracts.case import CaseReader, TrainingCase
from segflow.contracts.labels import Target
from segflow.contracts.plan import Fold

__all__ = ["Batch", "BatchMaker"]

_TRAINING: Final = 0
_VALIDATION: Final = 1
#: Value of voxels beyond the border of a case. Source: method.md section 12.
_PAD_IMAGE: Final = 0
_PAD_LABELS: Final = -1


@dataclass(frozen=True)
class Batch:
    """Arrays, as they travel from a worker.

    Attributes:
        image: (b, c, *patch), float32.
        targets: Per scored output, full resolution first: classes (b, *shape), int16, or regions
            (b, r, *shape), boolean.
    """

    image: NDArray[np.float32]
    targets: tuple[NDArray[np.generic], ...]


@dataclass(frozen=True, kw_only=True)
class BatchMaker:
    """All that is needed to make any batch of a training.

    Attributes:
        reader: Gives cases.
        fold: Cases to train on and to validate with.
        settings: Of the augmentation.
        batch_size: Patches per batch.
        foreground_share: Share of patches centred on foreground.
        iterations: Training batches per epoch.
        validation_iterations: Validation batches per epoch; they come after those for training.
        seed: Of the training.
        share: Positions in each batch that are made here.
    """

    reader: CaseReader
    fold: Fold
    settings: Settings
    batch_size: int
    foreground_share: float
    iterations: int
    validation_iterations: int
    seed: int
    share: range

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch, for training and for validation."""
        return self.iterations + self.validation_iterations

    def make(self, number: int) -> Batch:
        """Make one batch.

        Args:
            number: Counted over the whole training, the validation batches of each epoch included.

        Returns:
            The batch, or a share of it.

        Source: method.md sections 12 and 13; numbering is ours.
        """
        epoch, index = divmod(number, self.per_epoch)
        stream = _TRAINING if index < self.iterations else _VALIDATION
        examples = [
            self._example(self._rng(stream, epoch, index, j), j, training=stream == _TRAINING)
            for j in self.share
        ]
        targets = zip(*(example.targets for example in examples), strict=True)
        return Batch(
            image=torch.stack([example.image for example in examples]).numpy(),
            targets=tuple(torch.stack(scale).numpy() for scale in targets),
        )

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(self.seed, spawn_key=key)))

    def _example(self, rng: np.random.Generator, j: int, *, training: bool) -> Example:
        identifiers = self.fold.train if training else self.fold.val
        case = self.reader.read(identifiers[int(rng.integers(len(identifiers)))])
        settings, patch_shape = self.settings, self.settings.patch_shape
        read_shape = initial_patch_shape(patch_shape, settings.recipe) if training else patch_shape
        start = draw_start(
            rng,
            _shape3(case.labels.shape),
            read_shape=_shape3(read_shape),
            patch_shape=_shape3(patch_shape),
            locations=self._locations(case, j),
        )
        if not training:
            return plain(self._cut(case, start, read_shape), settings)
        draw = draw_augmentation(rng, settings)
        first, shape = needed_box(draw, settings, read_shape=read_shape)
        offset = (0,) * (3 - len(first)) + first
        start = _shape3([s + f for s, f in zip(start, offset, strict=True)])
        return augment(self._cut(case, start, shape), draw, settings, read_shape=read_shape)

    def _locations(self, case: TrainingCase, j: int) -> Mapping[Target, Voxels]:
        """The voxels patch j may be centred on; none if it may lie anywhere."""
        annotated = annotated_target(case.locations, self.settings.labels)
        if is_forced(j, batch_size=self.batch_size, foreground_share=self.foreground_share):
            targets = {k: v for k, v in case.locations.items() if k != annotated and len(v) > 0}
            if targets:
                return targets
        return {} if annotated is None else {annotated: case.locations[annotated]}

    def _cut(self, case: TrainingCase, start: Shape3, shape: tuple[int, ...]) -> Patch:
        """Read a patch; a 2D one loses its first axis."""
        image = read_patch(case.image, start, _shape3(shape), fill=_PAD_IMAGE).astype(np.float32, copy=False)
        previous = case.previous_stage if self.settings.cascade else None
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
