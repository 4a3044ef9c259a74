"""How long the steps of a training take, timed on a made-up case before there are prepared ones."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import torch

from segflow.contracts.case import TrainingCase
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Fold
from segflow.network.device import algorithms, keep_freed_memory
from segflow.network.group import Group
from segflow.training.batches import BatchMaker
from segflow.training.job import TrainingJob
from segflow.training.step import Learner
from segflow.training.transfer import loaded_ahead
from segflow.training.workers import open_batches

__all__ = ["StepTimes", "time_steps"]

#: The first batches also start libraries and reserve memory.
_WARM_UP: Final = 1
_LEAST, _MOST = 2, 60
#: Edges of the patches tried, in parts of which the network's coarsest stage sees one voxel each.
_EDGES: Final = (2, 4, 8)
#: Patches of a small batch. A single one takes other, slower routines of torch than a batch.
_FEW: Final = 2
#: A case need not be larger than this many patches along an axis.
_PATCHES: Final = 2
#: Edge of the parts of its label map.
_BLOCK: Final = 8


@dataclass(frozen=True)
class StepTimes:
    """Seconds per batch.

    Attributes:
        training, validation: Of each kind.
        whole: Timed at the job's own patch and batch, not at smaller ones.
    """

    training: float
    validation: float
    whole: bool = True


def time_steps(job: TrainingJob, *, seconds: float) -> StepTimes:
    """Time batches of a training, or smaller ones where its own would take too long.

    Times are taken to grow by the same amount with every voxel.

    Args:
        job: What would be trained. Its fold is not looked at.
        seconds: Roughly how long to spend on it.
    """
    end, whole = time.monotonic() + seconds, _voxels(job)
    smallest, *larger = _sizes(job)
    timed = [_Timed(_voxels(smallest), *_timed(smallest, 0.0))]

    def fits(size: TrainingJob) -> bool:
        expected = (_WARM_UP + _LEAST) * sum(_expected(timed, _voxels(size)))
        return timed[-1].voxels < _voxels(size) and time.monotonic() + expected < end

    while fitting := [*filter(fits, larger)]:
        voxels = _voxels(fitting[-1])
        timed.append(_Timed(voxels, *_timed(fitting[-1], end if voxels == whole else 0.0)))
    return StepTimes(*_expected(timed, whole), whole=timed[-1].voxels == whole)


class _Timed(NamedTuple):
    voxels: int
    training: float
    validation: float


def _expected(timed: Sequence[_Timed], voxels: int) -> tuple[float, float]:
    """Seconds for a size, from the last two that were timed, or in proportion to a single one."""
    *_, before, last = (_Timed(0, 0.0, 0.0), *timed)
    further = (voxels - last.voxels) / (last.voxels - before.voxels)
    training, validation = (
        now + further * max(0.0, now - then) for then, now in zip(before[1:], last[1:], strict=True)
    )
    return training, validation


def _sizes(job: TrainingJob) -> Iterator[TrainingJob]:
    """Ever larger patches, from the smallest that the network can halve as often as it does; then the whole batch."""
    configuration = job.configuration
    divisors = [math.prod(axis) for axis in zip(*configuration.architecture.strides, strict=True)]
    patches = [
        tuple(min(size, edge * by) for size, by in zip(configuration.patch_shape, divisors, strict=True))
        for edge in _EDGES
    ]
    few = min(_FEW, configuration.batch_size)
    sizes = [*((patch, few) for patch in (*patches, configuration.patch_shape))]
    for patch, batch in dict.fromkeys((*sizes, (configuration.patch_shape, configuration.batch_size))):
        yield replace(
            job, configuration=configuration.model_copy(update={"patch_shape": patch, "batch_size": batch})
        )


def _voxels(job: TrainingJob) -> int:
    return math.prod(job.configuration.patch_shape) * job.configuration.batch_size


def _timed(job: TrainingJob, end: float) -> tuple[float, float]:
    """Seconds of a batch for training and of one for validation, made in turn, up to a time."""
    job = replace(
        job,
        fold=Fold(train=("made up",), val=("made up",)),
        training=job.training.model_copy(update={"iterations": 1, "validation_iterations": 1}),
    )
    keep_freed_memory()
    maker = BatchMaker(job, _MadeUp(job))
    training: list[float] = []
    validation: list[float] = []
    with (
        open_batches(maker, first=0, stop=2 * _MOST, workers=job.workers) as batches,
        algorithms(deterministic=job.deterministic),
    ):
        learner = Learner(job, Group(device=job.device))
        loaded = loaded_ahead(batches, torch.device(job.device))
        for number in range(1, _MOST + 1):
            started = _now()
            learner.learn(next(loaded)).read()
            between = _now()
            learner.score(next(loaded))
            training.append(_spent(job, started, between))
            validation.append(_spent(job, between, _now()))
            if number >= _WARM_UP + _LEAST and time.monotonic() > end:
                break
    # Of a size on the way the fastest, as a busy machine slows others down; of the whole one what is to be expected.
    middle = statistics.mean if end else min
    return middle(training[_WARM_UP:]), middle(validation[_WARM_UP:])


def _now() -> tuple[float, float]:
    """Seconds on the clock, and seconds that processors have worked for this process."""
    return time.perf_counter(), time.process_time()


def _spent(job: TrainingJob, start: tuple[float, float], end: tuple[float, float]) -> float:
    """Seconds on the clock; on a CPU, which others may keep busy, at most those that it has worked for this process."""
    clock, worked = (after - before for before, after in zip(start, end, strict=True))
    return min(clock, worked) if job.device == "cpu" and not job.workers else clock


class _MadeUp:
    """Reads the same case under any name: noise, with every label somewhere."""

    def __init__(self, job: TrainingJob) -> None:
        rng = np.random.default_rng(0)
        shape = _case_shape(job)
        blocks = rng.choice(np.array(job.labels.values, np.int16), [-(-size // _BLOCK) for size in shape])
        labels = np.kron(blocks, np.ones((_BLOCK,) * 3, np.int16))[: shape[0], : shape[1], : shape[2]]
        image = rng.standard_normal((job.channels, *shape), dtype=np.float32)
        cascade = job.configuration.previous_stage is not None
        self._case = TrainingCase(
            image, labels, _locations(job.labels, shape, rng), labels if cascade else None
        )

    def read(self, identifier: str) -> TrainingCase:  # noqa: ARG002  all are alike
        """The case."""
        return self._case


def _case_shape(job: TrainingJob) -> tuple[int, int, int]:
    configuration = job.configuration
    pairs = zip(configuration.median_shape, configuration.patch_shape, strict=True)
    z, y, x = (1,) * (3 - configuration.dimensions) + tuple(
        max(1, min(round(median), _PATCHES * patch)) for median, patch in pairs
    )
    return z, y, x


def _locations(
    labels: Labels, shape: tuple[int, int, int], rng: np.random.Generator
) -> dict[int | tuple[int, ...], np.ndarray]:
    everywhere = labels.targets if labels.ignore is None else (*labels.targets, labels.values)
    return {target: rng.integers(0, shape, (100, 3)).astype(np.int32) for target in everywhere}
