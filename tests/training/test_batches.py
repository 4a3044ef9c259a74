"""Batches are a pure function of seed and number, whoever makes them."""

import dataclasses
import multiprocessing
import os
import signal
import time
from functools import partial

import numpy as np
import pytest
import torch
from tiny_problem import Reader, kill_parent, make_job

from segflow.contracts.errors import TrainingError
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Fold
from segflow.training.batches import BatchMaker
from segflow.training.workers import open_batches


def maker_of(reader=None, **changes):
    return BatchMaker(make_job(**changes), reader or Reader())


def same(a, b):
    return np.array_equal(a.image, b.image) and all(map(np.array_equal, a.targets, b.targets))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_shapes_and_types(dimensions):
    maker = maker_of(dimensions=dimensions)
    patch = (8, 16, 12)[-dimensions:]
    for number in range(2 * maker.per_epoch):
        batch = maker.make(number)
        assert (batch.image.shape, batch.image.dtype) == ((2, 1, *patch), np.float32)
        assert [(target.shape, target.dtype) for target in batch.targets] == [((2, *patch), np.int16)]


def test_the_same_number_is_the_same_batch_and_no_other():
    maker = maker_of()
    batches = [maker.make(number) for number in range(maker.per_epoch + 1)]
    assert same(maker.make(1), batches[1])
    assert not any(same(batches[i], batches[j]) for i in range(len(batches)) for j in range(i))
    assert not same(maker_of(seed=2).make(1), batches[1])


def test_training_and_validation_batches_take_turns():
    read = []

    class Spy(Reader):
        def read(self, identifier):
            read.append(identifier)
            return super().read(identifier)

    maker = maker_of(Spy())
    for number in range(5):
        maker.make(number)
    assert set(read[:6]) <= {"1", "2", "3"}
    assert read[6:] == ["4"] * 4
    assert maker_of(fold=Fold(train=("1",), val=())).per_epoch == 3


def test_forced_patches_hold_foreground():
    maker = maker_of(patch_shape=(4, 4, 4))
    for number in range(3, 5):  # validation: the patch is not moved about the voxel
        assert maker.make(number).targets[0][1].any()


class Sparse(Reader):
    """A single annotated voxel."""

    def read(self, identifier):
        labels = np.full((14, 20, 18), 3, np.int16)
        labels[7, 10, 9] = 0
        locations = {1: np.zeros((0, 3), int), 2: np.zeros((0, 3), int)}
        locations[-1, 0, 1, 2] = np.array([[7, 10, 9]])
        return dataclasses.replace(super().read(identifier), labels=labels, locations=locations)


def test_with_an_ignore_label_every_patch_is_around_an_annotated_voxel():
    labels = Labels((("background", 0), ("a", 1), ("b", 2), ("ignore", 3)))
    maker = maker_of(Sparse(), patch_shape=(4, 4, 4), labels=labels)
    for number in range(3, 5):
        assert ((maker.make(number).targets[0] == 0).sum((1, 2, 3)) == 1).all()


def test_regions_and_cascade():
    labels = Labels((("background", 0), ("both", (1, 2)), ("b", 2)), (1, 2))
    batch = maker_of(labels=labels, previous_stage="3d_lowres").make(0)
    assert batch.image.shape[1] == 3
    assert (batch.targets[0].shape[1], batch.targets[0].dtype) == (2, np.bool_)


@pytest.fixture
def no_worker_stays():
    yield
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("no_worker_stays")
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_same_batches_whoever_makes_them(workers, request):
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(2)  # here, but not in the workers
    maker = maker_of()
    with (
        open_batches(maker, first=2, stop=9, workers=0) as here,
        open_batches(maker, first=2, stop=9, workers=workers) as there,
    ):
        pairs = list(zip(here, there, strict=True))
    assert len(pairs) == 7
    assert all(same(a, b) for a, b in pairs)
    assert torch.get_num_threads() == 2


class Broken:
    def read(self, identifier):
        raise ZeroDivisionError("the reason")


class Deadly:
    def read(self, identifier):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.timeout(20)
@pytest.mark.usefixtures("no_worker_stays")
@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (Broken(), r"(?s)batch 0 could not be made.*in read.*ZeroDivisionError: the reason"),
        (Deadly(), r"a data worker died \(exit code -9"),
    ],
)
def test_a_worker_that_fails_or_dies_is_an_error_within_seconds(reader, message):
    with (
        open_batches(maker_of(reader), first=0, stop=9, workers=2) as batches,
        pytest.raises(TrainingError, match=message),
    ):
        next(batches)


@pytest.mark.timeout(20)
@pytest.mark.usefixtures("no_worker_stays")
def test_a_worker_that_dies_in_the_middle_of_a_batch():
    """It is stopped while its batch, larger than a pipe, waits to be received; then the rest never comes."""
    with open_batches(maker_of(patch_shape=(8, 64, 64)), first=0, stop=99, workers=1) as batches:
        next(batches)
        time.sleep(1)  # the batches that are received ahead are here by now, and the next one fills the pipe
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(TrainingError, match=r"a data worker died \(exit code -9"):
            list(batches)


def leave_early():
    with open_batches(maker_of(), first=0, stop=1000, workers=2) as batches:
        for _ in range(2):  # a batch of each worker
            next(batches)
        for number in (signal.SIGTERM, signal.SIGINT):  # only the caller acts on these
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, number)
        next(batches)
        raise KeyboardInterrupt


@pytest.mark.usefixtures("no_worker_stays")
def test_leaving_early_ends_the_workers_and_signals_do_not():
    with pytest.raises(KeyboardInterrupt):
        leave_early()


PARENT = """
import multiprocessing, time
from tiny_problem import Reader, make_job
from segflow.training.batches import BatchMaker
from segflow.training.workers import open_batches
with open_batches(BatchMaker(make_job(), Reader()), first=0, stop=1000, workers=2) as batches:
    next(batches)
    print(*(process.pid for process in multiprocessing.active_children()), sep="\\n", flush=True)
    time.sleep(60)
"""


@pytest.mark.timeout(120)
def test_workers_of_a_killed_parent_end(tmp_path):
    kill_parent(PARENT, 2, folder=tmp_path)
