"""Cases spread over processes, which end with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final, TypeVar

from segflow.contracts.errors import SegflowError
from segflow.processes.memory import Claims
from segflow.processes.signals import collect_signals, exit_for, follow_parent

__all__ = ["map_cases", "usable_cores"]

T = TypeVar("T")
R = TypeVar("R")

_LOOK_S: Final = 0.1  # between two looks at the signals received
_BATCH_S: Final = 0.05  # a process returns results this often: returning them costs as much as a small case
_LEAVE_S: Final = 20.0  # for cases in progress when the caller stops; then their processes are killed


def usable_cores() -> int:
    """CPU cores that this process may use: those of a cluster's job, or of the machine."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _DiedError(Exception):
    """A process died."""


@dataclass(frozen=True)
class _Queue:
    """Cases that all processes take from.

    Attributes:
        work: Applied to each case.
        cases: All of them.
        taken: How many have been taken; the next one has this index.
        closed: Not zero once no more are to be taken. Without a lock, which a process that died may hold.
        in_progress: By case, whether it is.
        claims: By case, the memory that it is about to take.
    """

    work: Callable[[Any], object]
    cases: Sequence[Any]
    taken: Any
    closed: Any
    in_progress: Any
    claims: Claims

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

    After Ctrl-C or an error, cases that have not begun are dropped and those in progress are finished, if that takes
    seconds; no process is left. `work`, the cases and the results must be picklable; errors that `work` raises are
    raised here.

    Args:
        work: Called once per case; again if a process died meanwhile.
        cases: What it is applied to.
        workers: Processes.
        if_died: Gives the result of a case whose process died, also when the case was tried again alone.

    Raises:
        SegflowError: A process died, usually because memory ran out (not with `if_died`), or could not be started.
    """
    if not cases:
        return
    # An exception raised by a signal handler can come anywhere, also where a process is started or ended, which then
    # nobody knows of. So signals are looked at between results only.
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
            Claims(len(chosen)),
        )
        came: set[int] = set()
        try:
            with closing(_run(queue, min(workers, len(chosen)))) as batches:
                for found in batches:
                    came |= {chosen[place] for place in found}
                    yield {chosen[place]: result for place, result in found.items()}
        except _DiedError:
            begun = [
                index for index, state in zip(chosen, states, strict=True) if state and index not in came
            ]
            if if_died is None or not (begun or came):
                raise SegflowError(
                    "a worker process died, usually because memory ran out; try again with fewer --workers or "
                    "more memory"
                ) from None
            if is_alone and not came:
                yield {chosen[0]: if_died(cases[chosen[0]])}
        alone = alone[1:] if is_alone else begun
        left = [index for index in left if index not in came and index not in alone]


def _run(queue: _Queue, processes: int) -> Generator[dict[int, Any], None, None]:
    """Results by the case's place in the queue, as they come; {} from time to time.

    Raises:
        _DiedError: A process died, and the others were ended.
        SegflowError: One cannot be started.
    """
    pool: dict[Connection, BaseProcess] = {}
    patience_s = _LEAVE_S
    try:
        while len(pool) < processes:
            line, process = _start_worker(queue)
            pool[line] = process
        working = set(pool)
        while working:
            arrived = wait(working, timeout=_LOOK_S)
            yield {}
            for line in working.intersection(arrived):
                found = _received(line)
                working -= set() if found else {line}  # which finds no case left
                yield found
    except (_DiedError, SegflowError):
        patience_s = 0.0  # the others may wait for what the dead one held
        raise
    finally:
        queue.closed.value = 1
        _end(pool, patience_s)


def _start_worker(queue: _Queue) -> tuple[Connection, BaseProcess]:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=_work, args=(queue, theirs), daemon=True)
    try:
        process.start()
    except OSError as problem:
        raise SegflowError(
            f"a worker process cannot be started ({problem}); try again with fewer --workers"
        ) from None
    theirs.close()  # so that the pipe ends when the process does
    return ours, process


def _received(line: Connection) -> dict[int, Any]:
    try:
        found: dict[int, Any] = line.recv()
    except (EOFError, OSError):  # even in the middle of a message
        raise _DiedError from None
    return found


def _end(pool: Mapping[Connection, BaseProcess], patience_s: float) -> None:
    """Leave no process: those that end in time have finished their cases; what they still send is dropped."""
    end, lines = time.monotonic() + patience_s, set(pool)
    while lines and (left_s := end - time.monotonic()) > 0:
        for line in lines.intersection(wait(lines, timeout=left_s)):
            try:
                line.recv_bytes()
            except (EOFError, OSError):
                lines.remove(line)
    for line, process in pool.items():
        process.kill()
        process.join()
        line.close()


def _work(queue: _Queue, line: Connection) -> None:
    """What runs in a process."""
    follow_parent()
    while found := _batch(queue):
        line.send(found)
    line.send({})


def _batch(queue: _Queue) -> dict[int, Any]:
    """Results of as many cases as fit into the time, but of one at least; nothing if no case is left."""
    end = time.monotonic() + _BATCH_S
    results: dict[int, Any] = {}
    while (index := queue.take()) is not None:
        queue.claims.begin(index)
        try:
            results[index] = queue.work(queue.cases[index])
        except Exception as problem:  # noqa: BLE001  raised again in the parent
            results[index] = _failure(problem)
            break
        finally:
            queue.claims.end(index)
            queue.in_progress[index] = 0
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
