"""Worker processes: the same batches, clear errors, no leftovers."""

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from segflow.contracts.errors import TrainingError
from segflow.training.job import batch_maker
from segflow.training.workers import open_batches


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_same_batches_whoever_makes_them(job, reader, workers):
    torch.set_num_threads(2)  # here, but not in the workers
    maker = batch_maker(job(), reader)
    with (
        open_batches(maker, first=2, stop=9, workers=0) as here,
        open_batches(maker, first=2, stop=9, workers=workers) as there,
    ):
        pairs = list(zip(here, there, strict=True))
    assert len(pairs) == 7
    for a, b in pairs:
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.targets[0], b.targets[0])
    assert not multiprocessing.active_children()


def test_this_process_keeps_its_threads(job, reader):
    before = torch.get_num_threads()
    with open_batches(batch_maker(job(), reader), first=0, stop=1, workers=0) as batches:
        next(batches)
    assert torch.get_num_threads() == before


class Broken:
    def read(self, identifier):
        raise ZeroDivisionError("the reason")


def test_an_exception_in_a_worker_comes_with_its_traceback(job, reader):
    maker = dataclasses.replace(batch_maker(job(), reader), reader=Broken())
    with (
        open_batches(maker, first=0, stop=9, workers=2) as batches,
        pytest.raises(
            TrainingError, match=r"(?s)batch 0 could not be made.*in read.*ZeroDivisionError: the reason"
        ),
    ):
        next(batches)
    assert not multiprocessing.active_children()


class Deadly:
    def read(self, identifier):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_killed_worker_is_an_error_within_seconds(job, reader):
    maker = dataclasses.replace(batch_maker(job(), reader), reader=Deadly())
    began = time.monotonic()
    with (
        open_batches(maker, first=0, stop=9, workers=2) as batches,
        pytest.raises(TrainingError, match=r"a data worker died \(exit code -9"),
    ):
        next(batches)
    assert time.monotonic() - began < 20
    assert not multiprocessing.active_children()


def interrupt(maker):
    with open_batches(maker, first=0, stop=1000, workers=2) as batches:
        next(batches)
        raise KeyboardInterrupt


def test_leaving_early_ends_the_workers(job, reader):
    with pytest.raises(KeyboardInterrupt):
        interrupt(batch_maker(job(), reader))
    assert not multiprocessing.active_children()


PARENT = """
import multiprocessing, sys, time
sys.path.insert(0, {folder!r})
from tiny_problem import Reader, make_job
from segflow.training.job import batch_maker
from segflow.training.workers import open_batches
with open_batches(batch_maker(make_job(), Reader()), first=0, stop=1000, workers=2) as batches:
    next(batches)
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    time.sleep(60)
"""


@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_workers_of_a_killed_parent_end(request):
    script = PARENT.format(folder=str(request.path.parent))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 10
    while any(_runs(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in workers)


def _runs(pid):
    """A process that has ended may stay a zombie if nobody waits for it."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return state.stdout.strip()[:1] not in ("", "Z")
