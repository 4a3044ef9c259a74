"""Cases spread over processes that go away with the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from segflow.commands.interruption import leave, noted_signals
from segflow.contracts.errors import SegflowError

__all__ = ["map_cases"]

T = TypeVar("T")
R = TypeVar("R")

_GLANCE_S = 0.1  # between two looks at what signals have come
_PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal a process gets when its parent dies


def map_cases(work: Callable[[T], R], cases: Sequence[T], *, workers: int) -> Iterator[R]:
    """Apply `work` to every case, in processes, and give the results in order.

    After Ctrl-C, or an error, what has not begun is dropped and the cases in hand are finished; no process stays.

    Args:
        work: Picklable; errors it raises are raised here.
        cases: Picklable.
        workers: Processes.

    Yields:
        One result per case.

    Raises:
        SegflowError: A process died, which mostly means that memory ran out.

    Source: ours.
    """
    # An exception out of a signal's handler can come anywhere, also where the pool starts or ends a process, and then
    # the pool waits for ever for a process that it does not know of. So signals are looked at between results only.
    with noted_signals() as received:
        processes = min(workers, max(len(cases), 1))
        pool = ProcessPoolExecutor(processes, initializer=_follow_parent, initargs=(os.getpid(),))
        try:
            for future in [pool.submit(work, case) for case in cases]:
                while not wait([future], timeout=_GLANCE_S).done and not received:
                    pass
                if received:
                    leave(received)
                yield future.result()
        except BrokenProcessPool:
            raise SegflowError(
                "a worker process died, mostly because memory ran out; try again with fewer --workers or more memory"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _follow_parent(parent: int) -> None:
    """Leave Ctrl-C to the parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before it could be followed
            os._exit(1)
