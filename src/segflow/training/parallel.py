"""One training on several devices, in a process per device.

Each process computes the gradient of its own share of a batch. The sum over all processes is the gradient of the batch,
which each of them then applies; so all keep the same weights, bit for bit.

torch.multiprocessing starts the processes, and torch.distributed (gloo or NCCL) carries tensors between them. The
caller's process computes nothing: it shows the progress, decides when to stop, and ends the others when one of them
fails, which one that waits on its GPU for a dead one could not do itself.

Source: method.md section 15.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from logging.handlers import QueueHandler
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes

from segflow.contracts.case import Progress, Stop
from segflow.contracts.errors import Interrupted, SegflowError, TrainingError
from segflow.processes.signals import follow_parent
from segflow.training.memory import ran_out

__all__ = ["SINGLE", "ConnectionLostError", "Ended", "Group", "run_ranks"]

logger = logging.getLogger("segflow")

#: How long a process waits for the others, for instance while one writes a checkpoint to a slow disk. One that died is
#: noticed at once; this is for one that hangs.
_TIMEOUT: Final = timedelta(minutes=30)
_POLL_S: Final = 1.0  # between two looks at processes that send nothing
_CAUSE_S: Final = (
    10.0  # a lost connection is reported at once; what happened to the other process may come later
)
_LEAVE_S: Final = 60.0  # to close the connections in good order, when all is done
_LONGEST: Final = 10_000  # characters of a traceback, of which the end says most
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class ConnectionLostError(TrainingError):
    """The other processes did not answer, mostly because one of them has ended."""


@dataclass(frozen=True)
class Group:
    """One process among those of a training, and sums over all of them.

    All processes must call the same methods in the same order. With a single process nothing is sent. It is also the
    `Reduction` of a loss (`segflow.losses.reduction`).

    Attributes:
        rank: Number of this process.
        size: Number of processes.
        device: Of this process; sums are made there.
        share: Of the batch's patches that are this process's; see `sharing`.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    share: float = 1.0

    def positions(self, batch_size: int) -> range:
        """Which patches of a batch are this process's."""
        return range(self.rank, batch_size, self.size)

    def sharing(self, batch_size: int) -> Group:
        """The same, for batches of a size."""
        return replace(self, share=len(self.positions(batch_size)) / batch_size)

    def sum(self, mine: Tensor) -> Tensor:
        """The sum over all processes, the same bits in each; gradients flow back to this one's part.

        Raises:
            ConnectionLostError: A process has ended.
        """
        if self.size == 1:
            return mine
        total: Tensor = _Sum.apply(mine.to(self.device))  # type: ignore[no-untyped-call]
        return total.to(mine.device)

    def mean(self, mine: Tensor) -> Tensor:
        """The mean over a batch, from that over this process's patches; as `sum`."""
        return mine if self.size == 1 else self.sum(mine * self.share)

    def any(self, mine: bool) -> bool:  # noqa: FBT001  as the function of that name
        """True in all processes if it is true in one."""
        return mine if self.size == 1 else bool(self.sum(torch.tensor(int(mine))))

    def sum_gradients_(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients by their sums over all processes.

        A gradient that is infinite in one process (half precision overflows) is infinite in the sum. So the gradient
        scalers of all processes skip the same steps and keep the same scale.

        Args:
            parameters: In the same order everywhere; those without a gradient have none anywhere.

        Raises:
            ConnectionLostError: A process has ended.
        """
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])  # one message instead of a hundred
        _add_up_(flat)
        totals = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, total in zip(gradients, totals, strict=True):
            gradient.copy_(total.view(gradient.shape))


#: A training in one process.
SINGLE: Final = Group()


class _Sum(torch.autograd.Function):
    """The sum over all processes as a function of this process's summand, so its derivative is 1.

    The other processes compute what their summands contribute to the gradient, which is added later.
    """

    @staticmethod
    def forward(_context: Any, mine: Tensor) -> Tensor:
        total = mine.clone()
        _add_up_(total)
        return total

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return gradient


def _add_up_(tensor: Tensor) -> None:
    try:
        dist.all_reduce(tensor)
    except RuntimeError as error:  # such as "Connection closed by peer"
        raise ConnectionLostError(str(error)) from error


@dataclass(frozen=True)
class _Call:
    """What each process runs, and the line to the caller of each."""

    work: Callable[..., object]
    arguments: tuple[Any, ...]
    devices: tuple[str, ...]
    meeting: Path
    threads: int
    lines: tuple[Connection, ...]


@dataclass(frozen=True)
class Ended:
    """A process's last message: what the caller must raise, if anything."""

    error: Exception | None = None


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
        work: A function of a module. `progress` and `stop` are the caller's in the first process and do nothing in the
            others. May raise `Interrupted`.
        arguments: Copied into every process.
        devices: All "cpu", or "cuda:0", "cuda:1", ...
        progress: Of the caller.
        stop: Of the caller.

    Raises:
        Interrupted: A stop was requested, and the state saved.
        TrainingError: A process raised or died.
        torch.OutOfMemoryError: Memory ran out in one.
    """
    spawn = multiprocessing.get_context("spawn")  # CUDA and threads don't survive a fork
    ours, theirs = zip(*(spawn.Pipe() for _ in devices), strict=True)
    threads = max(1, torch.get_num_threads() // len(devices))  # the caller's, which it does not need itself
    with tempfile.TemporaryDirectory(prefix="segflow-") as folder, _all_ended():
        call = _Call(work, tuple(arguments), tuple(devices), Path(folder, "meeting"), threads, theirs)
        with _signals_held():
            ranks = start_processes(_run_rank, (call,), len(devices), join=False).processes  # type: ignore[no-untyped-call]
        for line in theirs:
            line.close()
        _serve(list(zip(ranks, ours, strict=True)), progress, stop)


@contextmanager
def _all_ended() -> Iterator[None]:
    """No process that is started in the block outlives it; without an error they get time to leave."""
    others = multiprocessing.active_children()
    patience = 0.0
    try:
        yield
        patience = _LEAVE_S
    except Interrupted:
        patience = _LEAVE_S
        raise
    finally:
        deadline = time.monotonic() + patience
        for process in multiprocessing.active_children():
            if process not in others:
                process.join(max(0.0, deadline - time.monotonic()))
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


def _serve(ranks: Sequence[tuple[BaseProcess, Connection]], progress: Progress, stop: Stop) -> None:
    """Answer the processes until all have ended, and raise what ended them.

    A process that lost another has no reason of its own; the other's reason is waited for.
    """
    running, ends = dict(enumerate(ranks)), dict[int, Exception | None]()
    deadline = math.inf
    while running and time.monotonic() < deadline:
        wait([thing for process, line in running.values() for thing in (process.sentinel, line)], _POLL_S)
        for number, (process, line) in list(running.items()):
            end = _heard(number, process, line, progress, stop)
            if end is None:
                continue
            del running[number]
            ends[number] = end.error
            if isinstance(end.error, ConnectionLostError):
                deadline = min(deadline, time.monotonic() + _CAUSE_S)
            elif end.error is not None and not isinstance(end.error, Interrupted):
                raise end.error
    for error in sorted(filter(None, ends.values()), key=lambda error: isinstance(error, Interrupted)):
        raise error


def _heard(
    number: int, process: BaseProcess, line: Connection, progress: Progress, stop: Stop
) -> Ended | None:
    """Answer what a process has sent so far; how it ended, if it did."""
    gone = process.exitcode is not None  # before looking: whatever it sent has arrived by then
    with suppress(EOFError, OSError):  # it died, maybe in the middle of a message or waiting for an answer
        while line.poll():
            match line.recv():
                case (steps, note):
                    progress.advance(steps, note=note)
                case None:
                    line.send(stop())
                case logging.LogRecord() as record:
                    logger.handle(record)
                case Ended() as end:
                    return end
        if not gone:
            return None
    process.join(_POLL_S)
    return Ended(
        TrainingError(
            f"training process {number} (process id {process.pid}) died (exit code {process.exitcode}; -9 mostly "
            "means that memory ran out); training can be resumed from its last checkpoint"
        )
    )


class _Caller:
    """The caller's progress bar, stop request and log, as the first process sees them; the others have no line."""

    def __init__(self, line: Connection | None) -> None:
        self._line = line

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        self.put_nowait((steps, note))

    def stop(self) -> bool:
        self.put_nowait(None)
        return self._line is not None and bool(self._line.recv())

    def put_nowait(self, message: object) -> None:
        """All that `QueueHandler` needs of a queue."""
        if self._line is not None:
            self._line.send(message)


def _run_rank(rank: int, call: _Call) -> None:
    """What runs in a process; the caller alone decides what Ctrl-C and SIGTERM mean."""
    follow_parent(ignore_sigterm=True)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    if sys.platform == "linux":  # all are on this machine, and what its name resolves to may not be there
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    for line in call.lines[:rank] + call.lines[rank + 1 :]:
        line.close()
    torch.set_num_threads(call.threads)
    error = _error_of(rank, call)
    call.lines[rank].send(Ended(error))
    if error is not None and not isinstance(error, Interrupted):
        os._exit(1)  # nothing to tidy up that would not wait for the others
    dist.destroy_process_group()


def _error_of(rank: int, call: _Call) -> Exception | None:
    """Do the work; what the caller must raise, if anything."""
    caller = _Caller(call.lines[0] if rank == 0 else None)
    if rank == 0:
        logger.addHandler(QueueHandler(caller))  # type: ignore[arg-type]
        logger.setLevel(logging.INFO)
    name = f"training process {rank} (process id {os.getpid()})"
    try:
        call.work(_join(rank, call), caller, caller.stop, *call.arguments)
    except Interrupted as error:
        return error
    except ConnectionLostError as error:
        return ConnectionLostError(f"{name} lost contact with the others: {error}")
    except SegflowError as error:
        return TrainingError(str(error))
    except Exception as error:  # noqa: BLE001  reported by the caller
        if isinstance(error, RuntimeError) and ran_out(error):
            return torch.OutOfMemoryError(str(error))
        return TrainingError(f"{name} failed:\n{traceback.format_exc()[-_LONGEST:]}")
    return None


def _join(rank: int, call: _Call) -> Group:
    """Meet the others through a file, so that no port has to be free."""
    device = torch.device(call.devices[rank])
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.set_device(device)
    try:
        dist.init_process_group(
            "nccl" if cuda else "gloo",
            init_method=call.meeting.as_uri(),
            rank=rank,
            world_size=len(call.devices),
            timeout=_TIMEOUT,
            device_id=device if cuda else None,
        )
    except RuntimeError as error:
        raise ConnectionLostError(str(error)) from error
    return Group(rank, len(call.devices), call.devices[rank])
