"""Being asked to stop: finish the step in hand and keep the work, instead of dying in the middle of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from segflow.commands.console import logger
from segflow.contracts.errors import Interrupted
from segflow.contracts.protocols import Stop

__all__ = ["stop_requests"]

_EXIT_TERMINATED = 143


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """Note SIGTERM (a cluster's time limit or preemption) and Ctrl-C instead of being torn down by them.

    A second Ctrl-C interrupts at once.

    Yields:
        What tells whether a stop was asked for. Work that is put down for it raises `Interrupted`.

    Raises:
        SystemExit: (143) Work was put down after SIGTERM.
        KeyboardInterrupt: Work was put down after Ctrl-C.

    Source: ours.
    """
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and signal.SIGINT in received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    except Interrupted:
        logger.info("stopped by signal %d; training goes on from here next time", received[0])
        if received[0] == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(_EXIT_TERMINATED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
