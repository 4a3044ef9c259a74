"""Cases spread over processes that go away with the one that started them."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from segflow.commands.interruption import leave, noted_signals
from segflow.contracts.errors import SegflowError

__all__ = ["map_cases"]

T = TypeVar("T")
R = TypeVar("R")
#: Place in the list of cases to the result, or failure.
_Results = dict[int, Any]

_GLANCE_S = 0.1  # between two looks at what signals have come
_BATCH_S = 0.05  # a process hands over its results so often: handing over costs as much as a small case
_AHEAD = 2  # batches asked for per process, so that none has to wait
_PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal a process gets when its parent dies


@dataclass(frozen=True)
class _Share:
    """What the processes have in common.

    Attributes:
        work: To do for each case.
        cases: All of them; whoever is free takes the next.
        taken: How many have been.
        closed: Not zero once no more shall be taken; without a lock, which a process may hold that died.
    """

    work: Callable[[Any], object]
    cases: Sequence[Any]
    taken: Any
    closed: Any

    def take(self) -> int | None:
        with self.taken.get_lock():
            place: int = self.taken.value
            if self.closed.value or place == len(self.cases):
                return None
            self.taken.value += 1
            return place


@dataclass(frozen=True)
class _Failure:
    problem: Exception
    traceback: str


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
    """
    if not cases:
        return
    # An exception out of a signal's handler can come anywhere, also where the pool starts or ends a process, and then
    # the pool waits for ever for a process that it does not know of. So signals are looked at between results only.
    with noted_signals() as received:
        processes = min(workers, len(cases))
        share = _Share(work, cases, multiprocessing.Value("q", 0), multiprocessing.RawValue("b", 0))
        pool = ProcessPoolExecutor(processes, initializer=_begin, initargs=(os.getpid(), share))
        batches: set[Future[_Results]] = set()
        found: _Results = {}
        try:
            batches |= {pool.submit(_batch) for _ in range(_AHEAD * processes)}
            for place in range(len(cases)):
                while place not in found and not received:
                    ended, batches = wait(batches, timeout=_GLANCE_S, return_when=FIRST_COMPLETED)
                    batches |= {pool.submit(_batch) for batch in ended if _gather(batch, found)}
                if received:
                    leave(received)
                yield _result(found.pop(place))
            if received:
                leave(received)
        except BrokenProcessPool:
            raise SegflowError(
                "a worker process died, mostly because memory ran out; try again with fewer --workers or more memory"
            ) from None
        finally:
            share.closed.value = 1
            pool.shutdown(wait=True, cancel_futures=True)


def _gather(batch: Future[_Results], found: _Results) -> bool:
    """Add a batch's results; False if there was no case left for it."""
    results = batch.result()
    found |= results
    return bool(results)


def _result(found: Any) -> Any:
    if not isinstance(found, _Failure):
        return found
    found.problem.add_note(found.traceback)
    raise found.problem


_share: _Share  # of a worker process


def _begin(parent: int, share: _Share) -> None:
    """Of every worker process, first of all."""
    global _share  # noqa: PLW0603  a process of the pool keeps what it is given here only
    _share = share
    _follow_parent(parent)


def _batch() -> _Results:
    """Results of as many cases as fit into the time, but of one at least; after a failure, no more."""
    end = time.monotonic() + _BATCH_S
    found: _Results = {}
    while (place := _share.take()) is not None:
        try:
            found[place] = _share.work(_share.cases[place])
        except Exception as problem:  # noqa: BLE001  raised again in the parent
            found[place] = _failure(problem)
            break
        if time.monotonic() >= end:
            break
    return found


def _failure(problem: Exception) -> _Failure:
    """An error to raise in the parent; in words, unless it is known to arrive whole."""
    text = traceback.format_exc()
    is_known = isinstance(problem, SegflowError) or type(problem).__module__ == "builtins"
    if not is_known or not all(isinstance(part, str | int | float | None) for part in problem.args):
        problem = RuntimeError(f"{type(problem).__name__}: {problem}")
    return _Failure(problem, text)


def _follow_parent(parent: int) -> None:
    """Leave Ctrl-C to the parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before it could be followed
            os._exit(1)
