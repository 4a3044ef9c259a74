"""Cases spread over processes, which end with the process that started them."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from segflow.contracts.errors import SegflowError
from segflow.processes.signals import collect_signals, exit_for, follow_parent

__all__ = ["map_cases"]

T = TypeVar("T")
R = TypeVar("R")

_LOOK_S: Final = 0.1  # between two looks at the signals received
_BATCH_S: Final = 0.05  # a process returns results this often: returning them costs as much as a small case
_AHEAD: Final = 2  # batches requested per process, so that none has to wait


@dataclass(frozen=True)
class _Queue:
    """Cases that all processes take from.

    Attributes:
        work: Applied to each case.
        cases: All of them.
        taken: How many have been taken; the next one has this index.
        closed: Not zero once no more are to be taken. Without a lock, which a process that died may hold.
        in_progress: By case, whether it is.
    """

    work: Callable[[Any], object]
    cases: Sequence[Any]
    taken: Any
    closed: Any
    in_progress: Any

    def take(self) -> int | None:
        with self.taken.get_lock():
            index: int = self.taken.value
            if self.closed.value or index == len(self.cases):
                return None
            self.taken.value += 1
            self.in_progress[index] = 1
            return index


def map_cases(
    work: Callable[[T], R], cases: Sequence[T], *, workers: int, if_died: Callable[[T], R] | None = None
) -> Iterator[R]:
    """Apply `work` to every case, in processes, and yield the results in order.

    After Ctrl-C or an error, cases that have not begun are dropped and those in progress are finished; no process is
    left. `work`, the cases and the results must be picklable; errors that `work` raises are raised here.

    Args:
        work: Called once per case; again if a process died meanwhile.
        cases: What it is applied to.
        workers: Processes.
        if_died: Gives the result of a case whose process died, also when the case was tried again alone.

    Raises:
        SegflowError: A process died, mostly because memory ran out (not with `if_died`), or could not be started.
    """
    if not cases:
        return
    # An exception raised by a signal handler can come anywhere, also where the pool starts or ends a process, and then
    # the pool waits for ever for a process that it does not know of. So signals are looked at between results only.
    with collect_signals() as received, closing(_results(work, cases, workers, if_died)) as arriving:
        results: dict[int, Any] = {}
        for index in range(len(cases)):
            while index not in results and not received:
                results |= next(arriving)
            exit_for(received)
            result = results.pop(index)
            if isinstance(result, Exception):
                raise result
            yield result
        exit_for(received)


def _results(
    work: Callable[[T], R], cases: Sequence[T], workers: int, if_died: Callable[[T], R] | None
) -> Generator[dict[int, Any], None, None]:
    """Results by index, as they come; {} from time to time. After a death, cases that were in progress run alone."""
    left, alone = list(range(len(cases))), list[int]()
    while left or alone:
        is_alone, chosen, begun = bool(alone), alone[:1] or left, list[int]()
        states = multiprocessing.RawArray("b", len(chosen))
        queue = _Queue(
            work,
            [cases[index] for index in chosen],
            multiprocessing.Value("q", 0),
            multiprocessing.RawValue("b", 0),
            states,
        )
        came: set[int] = set()
        try:
            with closing(_run(queue, min(workers, len(chosen)))) as batches:
                for found in batches:
                    came |= {chosen[place] for place in found}
                    yield {chosen[place]: result for place, result in found.items()}
        except BrokenProcessPool:
            begun = [
                index for index, state in zip(chosen, states, strict=True) if state and index not in came
            ]
            if if_died is None or not (begun or came):
                raise SegflowError(
                    "a worker process died, mostly because memory ran out; try again with fewer --workers or "
                    "more memory"
                ) from None
            if is_alone and not came:
                yield {chosen[0]: if_died(cases[chosen[0]])}
        alone = alone[1:] if is_alone else begun
        left = [index for index in left if index not in came and index not in alone]


def _run(queue: _Queue, processes: int) -> Generator[dict[int, Any], None, None]:
    """Results by the case's place in the queue, as they come; {} from time to time.

    Raises:
        BrokenProcessPool: A process died, and the others were ended.
    """
    pool = ProcessPoolExecutor(processes, initializer=_start_worker, initargs=(queue,))
    try:
        batches = _first_batches(pool, _AHEAD * processes)
        while batches:
            ended, batches = wait(batches, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
            yield {}
            for found in map(Future.result, ended):
                batches |= {pool.submit(_work_on_batch)} if found else set()  # else no case is left
                yield found
    finally:
        queue.closed.value = 1
        pool.shutdown(wait=True, cancel_futures=True)


def _first_batches(pool: ProcessPoolExecutor, count: int) -> set[Future[dict[int, Any]]]:
    """Start the processes. If one cannot be started, the pool would never end those that it has started before."""
    before = multiprocessing.active_children()
    try:
        return {pool.submit(_work_on_batch) for _ in range(count)}
    except OSError as problem:
        for process in set(multiprocessing.active_children()).difference(before):
            process.kill()
            process.join()
        raise SegflowError(
            f"a worker process cannot be started ({problem}); try again with fewer --workers"
        ) from None


_queue: _Queue  # of a worker process


def _start_worker(queue: _Queue) -> None:
    global _queue  # noqa: PLW0603  where a process of the pool keeps what it is given
    _queue = queue
    follow_parent()


def _work_on_batch() -> dict[int, Any]:
    """Results of as many cases as fit into the time, but of one at least; none after a failure."""
    end = time.monotonic() + _BATCH_S
    results: dict[int, Any] = {}
    while (index := _queue.take()) is not None:
        try:
            results[index] = _queue.work(_queue.cases[index])
        except Exception as problem:  # noqa: BLE001  raised again in the parent
            results[index] = _failure(problem)
            break
        finally:
            _queue.in_progress[index] = 0
        if time.monotonic() >= end:
            break
    return results


def _failure(problem: Exception) -> Exception:
    """An error to raise in the parent, traceback included; as text, unless it is known to survive pickling."""
    text = traceback.format_exc()
    is_known = isinstance(problem, SegflowError) or type(problem).__module__ == "builtins"
    if not is_known or not all(isinstance(part, str | int | float | None) for part in problem.args):
        problem = RuntimeError(f"{type(problem).__name__}: {problem}")
    problem.add_note(text)
    return problem
