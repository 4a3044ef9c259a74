"""Processes that make batches ahead of time. The only user of batchgenerators."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Final

import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter

from segflow.contracts.errors import SegflowError, TrainingError
from segflow.training.batches import Batch, BatchMaker

__all__ = ["open_batches"]

#: Finished batches each worker may keep waiting. Source: batchgenerators' documentation.
_CACHED: Final = 2


@contextmanager
def open_batches(maker: BatchMaker, *, first: int, stop: int, workers: int) -> Iterator[Iterator[Batch]]:
    """Batches in the order of their numbers, the same ones however many workers make them.

    Args:
        maker: Makes them.
        first: Number of the first batch.
        stop: One more than the number of the last.
        workers: Processes; 0 makes each batch in this process when it is asked for.

    Returns:
        A context manager around the iterator; the processes end with it.

    Raises:
        TrainingError: (by the iterator) making a batch failed, or a worker died.
    """
    if workers == 0:
        yield _made_here(maker, first, stop)
        return
    with closing(_Workers(maker, first=first, stop=stop, workers=workers)) as batches:
        yield batches


def _made_here(maker: BatchMaker, first: int, stop: int) -> Iterator[Batch]:
    """One thread, as in a worker: sums over a volume depend on how many share the work."""
    for number in range(first, stop):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            batch = maker.make(number)
        finally:
            torch.set_num_threads(threads)
        yield batch


@dataclass(frozen=True)
class _Failure:
    """What a worker sends instead of a batch it could not make."""

    text: str


class _Loader:
    """What runs in a worker: every workers-th batch, beginning with the worker's own number."""

    def __init__(self, maker: BatchMaker, *, first: int, stop: int, workers: int) -> None:
        self._maker = maker
        self._next = first
        self._stop = stop
        self._workers = workers

    def set_thread_id(self, worker: int) -> None:
        """Called by batchgenerators in the new process, before the first batch."""
        self._next += worker
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the parent's handler
        torch.set_num_threads(1)
        threading.Thread(target=_end_with_parent, daemon=True).start()

    def __next__(self) -> Batch | _Failure:
        number = self._next
        if number >= self._stop:
            raise StopIteration
        self._next += self._workers
        try:
            return self._maker.make(number)
        except SegflowError as error:
            return _Failure(str(error))
        except Exception:  # noqa: BLE001  reported to the parent, which stops
            return _Failure(f"batch {number} could not be made:\n{traceback.format_exc()}")


def _end_with_parent() -> None:
    """A killed parent cannot end its workers; they notice and end themselves."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Workers:
    """batchgenerators' worker processes: batches come round robin, so their order is fixed."""

    def __init__(self, maker: BatchMaker, *, first: int, stop: int, workers: int) -> None:
        loader = _Loader(maker, first=first, stop=stop, workers=workers)
        self._augmenter = MultiThreadedAugmenter(loader, None, workers, num_cached_per_queue=_CACHED)
        self._augmenter.restart()
        self._processes = list(self._augmenter._processes)
        self._closing = threading.Event()
        self._watch = threading.Thread(target=self._watch_workers, daemon=True)
        self._watch.start()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        try:
            item = next(self._augmenter)
        except RuntimeError:
            raise TrainingError(self._obituary()) from None
        if isinstance(item, _Failure):
            raise TrainingError(f"a data worker failed: {item.text}")
        batch: Batch = item
        return batch

    def close(self) -> None:
        """End the processes."""
        self._closing.set()
        self._augmenter._finish()
        self._watch.join()

    def _watch_workers(self) -> None:
        """Tell the augmenter at once when a worker is gone: left to itself it can wait for ever."""
        wait([process.sentinel for process in self._processes])
        if not self._closing.is_set():
            self._augmenter.abort_event.set()

    def _obituary(self) -> str:
        codes = sorted({p.exitcode for p in self._processes if p.exitcode not in (0, None)})
        code = ", ".join(map(str, codes)) or "unknown"
        return (
            f"a data worker died (exit code {code}; -9 mostly means that memory ran out); "
            "training can be resumed from its last checkpoint, with fewer workers or more memory"
        )
