"""One training in several processes, one per device: started, watched and ended by the process that asked for it.

The caller's process computes nothing. It shows the progress, knows whether to stop, and can end the others whatever
they are doing: one that waits on its GPU for a dead one could not end itself. So a process that raises or dies ends the
training with an error at once, one that hangs does when the others' patience is over, and nobody waits for ever.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Final

import torch

from segflow.contracts.case import Progress, Stop
from segflow.contracts.errors import Interrupted, TrainingError
from segflow.training.rank import Ask, Call, End, Fate, Log, Step, run_rank

__all__ = ["run_ranks"]

logger = logging.getLogger("segflow")

_LOOK_S: Final = 1.0  # between two looks at the processes, should none of them say anything
_CAUSE_S: Final = 10.0  # a process that lost another tells at once; what became of that one may come later
_LEAVE_S: Final = 60.0  # to leave each other in good order, when all is done
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run_ranks(
    work: Callable[..., None],
    arguments: Sequence[Any],
    *,
    devices: Sequence[str],
    progress: Progress,
    stop: Stop,
) -> None:
    """Call `work(team, progress, stop, *arguments)` in a new process per device, and wait for all.

    Args:
        work: A function of a module. `progress` and `stop` are the caller's in the first process; in the others they do
            nothing. May raise `Interrupted`.
        arguments: Copied into every process.
        devices: All "cpu", or "cuda:0", "cuda:1", ...
        progress: Of the caller.
        stop: Of the caller.

    Raises:
        Interrupted: The first process put its work down.
        TrainingError: A process raised or died.
        torch.OutOfMemoryError: Memory ran out in one.
    """
    threads = max(1, torch.get_num_threads() // len(devices))  # the caller's, which it does not need itself
    with tempfile.TemporaryDirectory(prefix="segflow-") as folder:
        call = Call(work, tuple(arguments), tuple(devices), Path(folder, "meeting"), threads)
        with _started(call) as ranks:
            _serve(ranks, progress, stop)


@dataclass(frozen=True)
class _Rank:
    """A process, as the caller sees it."""

    number: int
    process: SpawnProcess
    line: Connection


@contextmanager
def _started(call: Call) -> Iterator[list[_Rank]]:
    """The processes of the block. They end with it: by themselves when all is done, else they are killed."""
    ranks: list[_Rank] = []
    patience = 0.0
    try:
        with _signals_held():
            ranks.extend(_start(number, call) for number in range(len(call.devices)))
        yield ranks
        patience = time.monotonic() + _LEAVE_S
    except Interrupted:
        patience = time.monotonic() + _LEAVE_S
        raise
    finally:
        for rank in ranks:
            rank.process.join(max(0.0, patience - time.monotonic()))
            rank.process.kill()  # they leave SIGTERM to us; their data workers notice and end themselves
            rank.process.join()
            rank.line.close()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Keep Ctrl-C and SIGTERM from new processes until these ignore them; what comes meanwhile is ours, afterwards."""
    resource_tracker.ensure_running()  # else it is started with the first process, and lets the signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(number: int, call: Call) -> _Rank:
    """Spawned, not forked: CUDA and threads don't survive a fork."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=run_rank, args=(number, call, theirs), name=f"rank {number}")
    process.start()
    theirs.close()
    return _Rank(number, process, ours)


def _serve(ranks: Sequence[_Rank], progress: Progress, stop: Stop) -> None:
    """Do what the processes ask for until all have ended."""
    ends: dict[int, End] = {}
    lost_since = math.inf
    while len(ends) < len(ranks) and time.monotonic() - lost_since < _CAUSE_S:
        running = [rank for rank in ranks if rank.number not in ends]
        wait([thing for rank in running for thing in (rank.line, rank.process.sentinel)], timeout=_LOOK_S)
        for rank in running:
            end = _heard(rank, progress, stop)
            if end is not None:
                _raise_failure(rank, end)
                ends[rank.number] = end
                if end.fate is Fate.LOST:
                    lost_since = min(lost_since, time.monotonic())
    _conclude(ranks, ends)


def _conclude(ranks: Sequence[_Rank], ends: Mapping[int, End]) -> None:
    for number, end in ends.items():
        if end.fate is Fate.LOST:  # and no other process had a reason of its own
            raise TrainingError(f"{_name(ranks[number])} lost contact with the others: {end.text}")
    if ends[0].fate is Fate.INTERRUPTED:
        raise Interrupted


def _heard(rank: _Rank, progress: Progress, stop: Stop) -> End | None:
    """Answer what a process has said so far; how it ended, if it did."""
    gone = rank.process.exitcode is not None  # before looking: what it said is in the line by then
    with suppress(EOFError, OSError):  # it died, maybe in the middle of a word or waiting for an answer
        while rank.line.poll():
            match rank.line.recv():
                case Step(steps, note):
                    progress.advance(steps, note=note)
                case Ask():
                    rank.line.send(stop())
                case Log(level, text):
                    logger.log(level, "%s", text)
                case End() as end:
                    return end
        if not gone:
            return None
    rank.process.join(_LOOK_S)
    return End(Fate.DIED, f"exit code {rank.process.exitcode}; -9 mostly means that memory ran out")


def _raise_failure(rank: _Rank, end: End) -> None:
    match end.fate:
        case Fate.REFUSED:
            raise TrainingError(end.text)
        case Fate.OUT_OF_MEMORY:
            raise torch.OutOfMemoryError(end.text)
        case Fate.FAILED:
            raise TrainingError(f"{_name(rank)} failed:\n{end.text}")
        case Fate.DIED:
            raise TrainingError(
                f"{_name(rank)} died ({end.text}); training can be resumed from its last checkpoint"
            )


def _name(rank: _Rank) -> str:
    return f"training process {rank.number} (process id {rank.process.pid})"
