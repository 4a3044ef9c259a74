"""Image libraries print what they have to say; here it becomes a value."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["hushed"]

_STDERR = 2
_only_one = threading.Lock()  # the screen is the process's, not the thread's


@contextmanager
def hushed() -> Iterator[list[str]]:
    """Keep what C and C++ code prints to standard error off the screen while the block runs.

    Yields:
        A list that holds the lines once the block is left.
    """
    said: list[str] = []
    with _only_one, tempfile.TemporaryFile() as sink:
        sys.stderr.flush()
        screen = os.dup(_STDERR)
        os.dup2(sink.fileno(), _STDERR)
        try:
            yield said
        finally:
            os.dup2(screen, _STDERR)
            os.close(screen)
            sink.seek(0)
            text = sink.read().decode("utf-8", "replace")
            said += [line.strip() for line in text.splitlines() if line.strip() and "\x1b" not in line]
