"""A side folder for unfinished work, used by one process at a time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from segflow.processes.locks import locked

__all__ = ["workspace"]


@contextmanager
def workspace(folder: Path, *, on_wait: Callable[[], None] | None = None) -> Iterator[Path]:
    """Lend a folder exclusively; remove it if the block succeeds, keep it if the block fails or is killed.

    Args:
        folder: Made if missing.
        on_wait: Called if another process has the folder, before waiting for it.

    Yields:
        The folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder, on_wait=on_wait):
        folder.mkdir(exist_ok=True)
        yield folder
        shutil.rmtree(folder)
