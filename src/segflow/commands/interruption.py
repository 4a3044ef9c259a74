"""Being asked to stop: finish what is in hand and keep the work, instead of dying in the middle of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from segflow.commands.console import logger
from segflow.contracts.case import Stop
from segflow.contracts.errors import Interrupted

__all__ = ["leave", "noted_signals", "stop_requests"]

_EXIT_TERMINATED = 143


@contextmanager
def noted_signals(*, impatient: bool = False) -> Iterator[list[int]]:
    """Note SIGTERM (a cluster's time limit or preemption) and Ctrl-C in the block, instead of being torn down by them.

    Args:
        impatient: A second Ctrl-C interrupts at once.

    Yields:
        Signals received so far.
    """
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if impatient and number == signal.SIGINT and signal.SIGINT in received:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():  # only that one gets signals
        yield received
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave(received: list[int]) -> NoReturn:
    """End as the first of the signals asks.

    Raises:
        KeyboardInterrupt: After Ctrl-C.
        SystemExit: (143) After SIGTERM.
    """
    if received[0] == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(_EXIT_TERMINATED)


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """Let work in the block be put down between two steps. A second Ctrl-C interrupts at once.

    Yields:
        What tells whether a stop was asked for. Work that is put down for it raises `Interrupted`.

    Raises:
        KeyboardInterrupt, SystemExit: Work was put down; see `leave`.
    """
    with noted_signals(impatient=True) as received:
        try:
            yield lambda: bool(received)
        except Interrupted:
            logger.info("stopped by signal %d; training goes on from here next time", received[0])
            leave(received)
