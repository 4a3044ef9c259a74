"""A side folder for unfinished work, used by one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["locked", "workspace"]


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


@contextmanager
def locked(path: Path, *, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of a file or folder; wait while another process has it.

    The lock is the kernel's: it is free again as soon as its holder is gone, however it went. Its file lies beside
    `path` and is removed with the lock.

    Args:
        path: What is locked; its folder must exist.
        on_wait: Called if another process has the lock, before waiting for it.
    """
    name = path.with_name(f"{path.name}.lock")
    while True:
        with name.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is not None:
                    on_wait()
                fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever held the lock before may have removed its file: then this is the lock of nothing.
            if not _is_still(name, lock.fileno()):
                continue
            try:
                yield
            finally:
                name.unlink(missing_ok=True)
            return


def _is_still(name: Path, descriptor: int) -> bool:
    try:
        return name.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
