"""Making batches ahead of time, in worker processes.

batchgenerators' `DataLoader` divides the numbers of the batches among the workers, and runs in them (decision 0004).
Each worker sends its batches through a pipe of its own, so that one which dies, even in the middle of a batch, is
noticed at once and cannot block the others. Pipes, unlike shared memory, also work in containers with a small /dev/shm.
"""

from __future__ import annotations

import multiprocessing
import traceback
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from multiprocessing.connection import Connection
from typing import Final

import torch
from batchgenerators.dataloading.data_loader import DataLoader

from segflow.contracts.errors import SegflowError, TrainingError
from segflow.processes.signals import follow_parent
from segflow.training.batches import Batch, BatchMaker

__all__ = ["open_batches"]

#: Received batches of each worker that wait here. Source: batchgenerators' documentation.
_CACHED: Final = 2


@contextmanager
def open_batches(maker: BatchMaker, *, first: int, stop: int, workers: int) -> Iterator[Iterator[Batch]]:
    """The batches from `first` to before `stop`, in order, the same ones however many workers make them.

    Without workers each batch is made in this process, when it is asked for. Workers end with the block; they are
    forked where that is the system's way, so use this before CUDA.

    Raises:
        TrainingError: (by the iterator) making a batch failed, or a worker died.
    """
    numbers = range(first, stop)
    if workers == 0:
        yield _made_here(maker, numbers)
        return
    pool: list[_Worker] = []
    try:
        pool.extend(_Worker(_Loader(maker, numbers, workers), number) for number in range(workers))
        for worker in pool:  # only now, as threads and forks don't mix
            worker.receive_ahead()
        yield (worker.next() for _, worker in zip(numbers, cycle(pool), strict=False))
    finally:
        for worker in pool:
            worker.close()


def _made_here(maker: BatchMaker, numbers: range) -> Iterator[Batch]:
    """With one thread, as in a worker: sums over a volume depend on the number of threads."""
    for number in numbers:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            batch = maker.make(number)
        finally:
            torch.set_num_threads(threads)
        yield batch


class _Loader(DataLoader):  # type: ignore[misc]
    """The batches of one of several workers: every n-th, beginning with the worker's own number."""

    def __init__(self, maker: BatchMaker, numbers: range, workers: int) -> None:
        super().__init__(maker, batch_size=1, num_threads_in_multithreaded=workers, shuffle=False)
        self.maker = maker
        self.indices = numbers

    def generate_train_batch(self) -> Batch | str:
        """The next batch, or why it cannot be made."""
        (number,) = self.get_indices()
        try:
            return self.maker.make(number)
        except SegflowError as error:
            return str(error)
        except Exception:  # noqa: BLE001  reported to the parent, which stops
            return f"batch {number} could not be made:\n{traceback.format_exc()}"


def _send_batches(loader: _Loader, number: int, line: Connection) -> None:
    """What runs in a worker; the parent alone decides what Ctrl-C and SIGTERM mean."""
    follow_parent(ignore_sigterm=True)
    torch.set_num_threads(1)
    loader.set_thread_id(number)
    for batch in loader:
        line.send(batch)


class _Worker:
    """A process that makes batches, and a thread that receives them ahead of time."""

    def __init__(self, loader: _Loader, number: int) -> None:
        self._line, theirs = multiprocessing.Pipe(duplex=False)
        self._process = multiprocessing.Process(
            target=_send_batches, args=(loader, number, theirs), daemon=True
        )
        self._process.start()
        theirs.close()  # so that the line ends when the process does
        self._receiver = ThreadPoolExecutor(1)
        self._ahead: deque[Future[Batch | str]] = deque()

    def receive_ahead(self) -> None:
        """Begin to receive batches."""
        while len(self._ahead) < _CACHED:
            self._ahead.append(self._receiver.submit(self._line.recv))

    def next(self) -> Batch:
        """The next batch of this worker.

        Raises:
            TrainingError: It could not be made, or the process died.
        """
        try:
            item = self._ahead.popleft().result()
        except (EOFError, OSError):
            self._process.join()
            raise TrainingError(
                f"a data worker died (exit code {self._process.exitcode}; -9 usually means that memory ran out); "
                "training can be resumed from its last checkpoint, with fewer workers or more memory"
            ) from None
        self.receive_ahead()
        if isinstance(item, str):
            raise TrainingError(f"a data worker failed: {item}")
        return item

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.join()
        self._receiver.shutdown(cancel_futures=True)
        self._line.close()
