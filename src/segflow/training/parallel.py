"""One training on several devices, in a process per device: its rank.

The ranks add up tensors with torch.distributed (gloo or NCCL). The caller's process computes nothing: it shows the
progress, decides when to stop, and ends all ranks when one of them fails, which a rank that waits on its GPU for a dead
one could not do itself. Each rank has a pipe to the caller, and the end of the pipe is the end of the rank.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist

from segflow.contracts.case import Progress, Stop
from segflow.contracts.errors import Interrupted, SegflowError, TrainingError
from segflow.network.group import ConnectionLostError, Group
from segflow.network.memory import ran_out
from segflow.processes.signals import follow_parent

__all__ = ["run_ranks"]

logger = logging.getLogger("segflow")

#: How long a rank that has lost another keeps that to itself, since the other one may yet report why it ended.
_CAUSE_S: Final = 10.0
_LOOK_S: Final = 1.0  # between two looks at the ranks themselves
_LEAVE_S: Final = 60.0  # to close the connections in good order, when all is done
_LONGEST: Final = 10_000  # characters of a traceback, of which the end says most
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class _Call:
    """What every rank does, and the address of the file by which the ranks find each other."""

    work: Callable[..., object]
    arguments: tuple[Any, ...]
    devices: tuple[str, ...]
    meeting: str
    threads: int


def run_ranks(
    work: Callable[..., object],
    arguments: Sequence[Any],
    *,
    devices: Sequence[str],
    progress: Progress,
    stop: Stop,
) -> None:
    """Call `work(group, progress, stop, *arguments)` in a new process per device, and wait for all.

    Args:
        work: A function of a module; it joins the group. `progress` and `stop` are the caller's in the first rank and
            do nothing in the others. May raise `Interrupted`.
        arguments: Copied into every process.
        devices: All "cpu", or "cuda:0", "cuda:1", ...
        progress: Of the caller.
        stop: Of the caller.

    Raises:
        Interrupted: A stop was requested, and the state saved.
        TrainingError: A rank failed or died.
        torch.OutOfMemoryError: Memory ran out in one.
    """
    threads = max(1, torch.get_num_threads() // len(devices))  # the caller's, which it does not need itself
    with tempfile.TemporaryDirectory(prefix="segflow-") as folder:
        meeting = Path(folder, "meeting").as_uri()  # a file, so that no port has to be free
        with _started(_Call(work, tuple(arguments), tuple(devices), meeting, threads)) as ranks:
            interrupted = _serve(ranks, progress, stop)
            for process in ranks.values():
                process.join(_LEAVE_S)
    if interrupted:
        raise Interrupted


@contextmanager
def _started(call: _Call) -> Iterator[dict[Connection, BaseProcess]]:
    """The ranks by the caller's ends of their pipes; none outlives the block."""
    spawn = multiprocessing.get_context("spawn")  # CUDA and threads don't survive a fork
    ranks: dict[Connection, BaseProcess] = {}
    try:
        with _signals_held():
            for rank in range(len(call.devices)):
                ours, theirs = spawn.Pipe()
                name = f"training process {rank}"
                process: BaseProcess = spawn.Process(target=_run_rank, args=(rank, theirs, call), name=name)
                process.start()
                ranks[ours] = process
                theirs.close()  # so that the pipe ends when the process does
        yield ranks
    finally:
        for process in ranks.values():
            process.kill()  # they ignore SIGTERM; their data workers follow them
            process.join()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Keep Ctrl-C and SIGTERM from new processes until they ignore them; the caller gets them after the block."""
    resource_tracker.ensure_running()  # else it starts with the first process, and lets the signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(ranks: Mapping[Connection, BaseProcess], progress: Progress, stop: Stop) -> bool:
    """Answer the ranks until all have ended, or raise the first error; whether they were interrupted."""
    running, interrupted = dict(ranks), False
    while running:
        wait(running, timeout=_LOOK_S)
        ready = [line for line, process in running.items() if line.poll() or not process.is_alive()]
        for line in ready:
            match _received(line, running[line]):
                case (steps, note):
                    progress.advance(steps, note=note)
                case "stop":
                    requested = stop()
                    with suppress(OSError):  # it died; the end of its pipe will tell
                        line.send(requested)
                case logging.LogRecord() as record:
                    logger.handle(record)
                case bool() as ended:
                    interrupted |= ended
                    del running[line]
    return interrupted


def _received(line: Connection, process: BaseProcess) -> Any:
    """A rank's next message, as `_Caller` and `_run_rank` send them.

    Raises:
        TrainingError, torch.OutOfMemoryError: The rank reports it, or has died.
    """
    message = None
    with suppress(EOFError, OSError):  # even in the middle of a message
        message = line.recv() if line.poll() else None  # what a dead rank has started may hold its pipe open
    if message is None:
        process.join(_LEAVE_S)
        raise TrainingError(
            f"{process.name} (process id {process.pid}) died (exit code {process.exitcode}; -9 mostly "
            "means that memory ran out); training can be resumed from its last checkpoint"
        )
    if isinstance(message, Exception):
        raise message
    return message


class _Caller:
    """The caller's progress bar, stop request and log, as the first rank sees them; the others have no line."""

    def __init__(self, line: Connection | None) -> None:
        self._line = line

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        self.put_nowait((steps, note))

    def stop(self) -> bool:
        self.put_nowait("stop")
        return self._line is not None and bool(self._line.recv())

    def put_nowait(self, message: object) -> None:
        """All that `QueueHandler` needs of a queue."""
        if self._line is not None:
            self._line.send(message)


def _run_rank(rank: int, line: Connection, call: _Call) -> None:
    """What runs in a rank; the caller alone decides what Ctrl-C and SIGTERM mean."""
    follow_parent(ignore_sigterm=True)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    torch.set_num_threads(call.threads)
    caller = _Caller(line if rank == 0 else None)
    if rank == 0:
        logger.addHandler(QueueHandler(caller))  # type: ignore[arg-type]
        logger.setLevel(logging.INFO)
    interrupted = False
    try:
        group = Group(rank, len(call.devices), call.devices[rank], meeting=call.meeting)
        call.work(group, caller, caller.stop, *call.arguments)
    except Interrupted:
        interrupted = True
    except Exception as error:  # noqa: BLE001  raised by the caller
        line.send(_reported(error))
        os._exit(1)  # nothing to tidy up that would not wait for the others
    line.send(interrupted)
    if dist.is_initialized():
        dist.destroy_process_group()


def _reported(error: Exception) -> Exception:
    """What the caller raises for an error in this rank."""
    name = f"{multiprocessing.current_process().name} (process id {os.getpid()})"
    match error:
        case ConnectionLostError():
            time.sleep(_CAUSE_S)
            return TrainingError(f"{name} lost contact with the others: {error}")
        case SegflowError():
            return TrainingError(str(error))
        case RuntimeError() if ran_out(error):
            return torch.OutOfMemoryError(str(error))
    return TrainingError(f"{name} failed:\n{traceback.format_exc()[-_LONGEST:]}")
