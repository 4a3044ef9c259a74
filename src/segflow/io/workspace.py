"""A side folder for unfinished work, used by one process at a time."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["workspace"]


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Lend a folder exclusively; remove it if the block succeeds, keep it if the block fails or is killed.

    The lock is the kernel's: it is free again as soon as its holder is gone, however it went.

    Args:
        folder: Made if missing. Its lock lies beside it.

    Yields:
        The folder.

    Source: ours.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir(exist_ok=True)
        yield folder
        shutil.rmtree(folder)
