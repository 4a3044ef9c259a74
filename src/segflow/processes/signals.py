"""Signals: stopping between two steps on request, and ending together with the parent process."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Final

from segflow.contracts.errors import Interrupted

__all__ = ["collect_signals", "end_with_parent", "exit_for", "follow_parent", "stop_requests"]

logger = logging.getLogger("segflow")

_EXIT_TERMINATED: Final = 143
_PR_SET_PDEATHSIG: Final = 1  # Linux's prctl: the signal that a process gets when its parent dies


@contextmanager
def collect_signals(*, second_interrupts: bool = False) -> Iterator[list[int]]:
    """Record SIGTERM (a cluster's time limit or preemption) and Ctrl-C in the block instead of acting on them.

    Yields the signals received so far. With `second_interrupts`, a second Ctrl-C raises KeyboardInterrupt at once.
    """
    received: list[int] = []

    def record(number: int, _frame: FrameType | None) -> None:
        if second_interrupts and number == signal.SIGINT and signal.SIGINT in received:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield received
        return
    before = {number: signal.signal(number, record) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_for(received: list[int], *kept: str) -> None:
    """End as the first signal asks, if any: KeyboardInterrupt after Ctrl-C, SystemExit(143) after SIGTERM.

    `kept` says what is kept, and how to go on.
    """
    if received:
        raise KeyboardInterrupt(*kept) if received[0] == signal.SIGINT else SystemExit(_EXIT_TERMINATED)


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Let the work in the block stop between two steps. A second Ctrl-C interrupts at once.

    Yields:
        A function that tells whether a stop was requested. Work that stops for it raises `Interrupted`.

    Raises:
        KeyboardInterrupt, SystemExit: The work was stopped; see `exit_for`.
    """
    with collect_signals(second_interrupts=True) as received:
        try:
            yield lambda: bool(received)
        except Interrupted:
            logger.info("stopped by signal %d; training continues from here next time", received[0])
            exit_for(received, "training is saved up to this moment; the same call goes on from there")


def follow_parent(*, ignore_sigterm: bool = False) -> None:
    """In a worker process: leave Ctrl-C to the parent, and end when it ends, however that happens.

    SIGTERM ends the process at once, unless `ignore_sigterm` leaves that to the parent, too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if ignore_sigterm else signal.SIG_DFL)
    end_with_parent(signal.SIGKILL)


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Have this process receive a signal when its parent dies, so that a killed parent leaves no process behind.

    Where the kernel cannot do that (it is not Linux, or a server forked this process), a process that multiprocessing
    started watches its parent and exits; other processes are left alone.
    """
    started_by = multiprocessing.parent_process()
    parent = os.getppid()
    if sys.platform == "linux" and (started_by is None or started_by.pid == parent):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it died just before the call
            os.kill(os.getpid(), number)
    elif started_by is not None:
        threading.Thread(target=_exit_after, args=(started_by,), daemon=True).start()


def _exit_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
