"""The standard streams of a process that nobody reads."""

from __future__ import annotations

import os
import sys

__all__ = ["open_closed_streams"]


def open_closed_streams(broken: int | None = None) -> None:
    """Let the standard streams that are closed, and one that is broken, lead nowhere.

    Else a file that is opened next would take their place, and get what libraries print.

    Args:
        broken: Descriptor of a stream whose reader has left.
    """
    for number in range(3):
        try:
            os.fstat(number)
            is_open = number != broken
        except OSError:
            is_open = False
        if not is_open:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # it was closed when Python started
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
