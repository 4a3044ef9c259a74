"""Locks on files: one kind for unfinished work, result folders and GPUs.

A lock is the kernel's (flock, through the library filelock), so it is free as soon as its holder ends, however that
happens. Forked children close their copies when they start, and programs that a holder starts do not inherit the lock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = ["holder_of", "locked", "try_lock"]

logger = logging.getLogger("segflow")

_PAUSE_S: Final = 0.05
_PROC_LOCKS: Final = Path("/proc/locks")
_FLOCK_WORDS: Final = 8  # number: FLOCK ADVISORY WRITE pid device:inode start end


def try_lock(file: Path) -> FileLock | None:
    """Take the lock of a file, unless another process has it.

    Args:
        file: The lock file; made if missing, never written to, and left in place when the lock is released.

    Returns:
        The lock, held until `release()` or the end of the process; None if another process has it.

    Raises:
        OSError: The file cannot be used, also because it is a link.
        RuntimeError: This process has the lock itself, and would wait for ever.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415  takes 35 ms, and most commands need no lock

    lock = FileLock(file, fallback_to_soft=False, is_singleton=True, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    if lock.lock_counter > 1:
        lock.release()
        raise RuntimeError(f"this process holds the lock {file} already")
    return lock


@contextmanager
def locked(path: Path, *, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of a file or folder; wait while another process has it.

    Args:
        path: What is locked; its folder must exist. The lock file PATH.lock is removed with the lock, by its holder:
            a lock on a removed file does not count (filelock checks that), so there is never a second holder.
        on_wait: Called once if another process has the lock; by default a line is logged.
    """
    file = path.with_name(f"{path.name}.lock")
    lock = try_lock(file)
    if lock is None:
        if on_wait is None:
            logger.warning("another call is at work in %s; waiting for it to end", path.parent)
        else:
            on_wait()
    while lock is None:
        time.sleep(_PAUSE_S)
        lock = try_lock(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        lock.release()


def holder_of(file: Path) -> int | None:
    """Process that holds the lock of a file, as far as Linux tells."""
    if not _PROC_LOCKS.exists():
        return None
    inode = str(file.stat().st_ino)
    for line in _PROC_LOCKS.read_text().splitlines():
        words = line.split()
        if len(words) == _FLOCK_WORDS and words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
            return int(words[4])
    return None
