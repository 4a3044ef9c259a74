"""Locks on files: one kind for unfinished work, result folders and GPUs.

A lock is the kernel's (flock, through the library filelock), so it is free as soon as its holder ends, however that
happens. Forked children close their copies when they start, and programs that a holder starts do not inherit the lock.
Where a file system has none (ENOLCK, ENOSYS or ENOTSUP, as on some NFS and Lustre mounts), a file FILE.owner that only
one process can make takes its place. It names its owner's host and process, and counts no longer when that is gone.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["holder_of", "locked", "named", "try_lock"]

logger = logging.getLogger("segflow")

_PAUSE_S: Final = 0.05
_PROC_LOCKS: Final = Path("/proc/locks")
_UNSUPPORTED: Final = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_FLOCK_WORDS: Final = 8  # number: FLOCK ADVISORY WRITE pid device:inode start end


def try_lock(file: Path) -> BaseFileLock | None:
    """Take the lock of a file, unless another process has it.

    Args:
        file: The lock file; made if missing, never written to, and left in place when the lock is released.

    Returns:
        The lock, held until `release()` or the end of the process; None if another process has it.

    Raises:
        OSError: The file cannot be used, also because it is a link.
        RuntimeError: This process has the lock itself, and would wait for ever.
    """
    from filelock import FileLock, SoftFileLock, Timeout  # noqa: PLC0415  35 ms, and most commands need no lock

    lock: BaseFileLock = FileLock(file, fallback_to_soft=False, is_singleton=True, thread_local=False)
    try:
        try:
            lock.acquire(blocking=False)
        except OSError as problem:
            if problem.errno not in _UNSUPPORTED:
                raise
            _say_unsupported(problem.strerror)
            if _owner_file(file).is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(_owner_file(file))) from None
            lock = SoftFileLock(_owner_file(file), is_singleton=True, thread_local=False)
            lock.acquire(blocking=False)
    except Timeout:
        return None
    if lock.lock_counter > 1:
        lock.release()
        raise RuntimeError(f"this process holds the lock {file} already")
    return lock


@cache
def _say_unsupported(reason: str) -> None:
    logger.info("a file system here has no locks (%s); files that name their owner take their place", reason)


def _owner_file(file: Path) -> Path:
    """Not the lock file, as an empty one may be left of a system that has locks."""
    return file.with_name(f"{file.name}.owner")


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
            logger.warning("another call is at work in %s%s; waiting for it to end", path.parent, named(file))
        else:
            on_wait()
    while lock is None:
        time.sleep(_PAUSE_S)
        lock = try_lock(file)
    try:
        yield
    finally:
        if file.is_file() and not file.stat().st_size:  # else it was something else before
            file.unlink()
        lock.release()


def named(file: Path) -> str:
    """The holder of the lock of a file, in brackets and for messages, as far as it is known."""
    if _owner_file(file).exists():
        process, host = _owner_of(file) or ("?", "?")
        return f" (process {process} of {host}; if it is gone, remove {_owner_file(file)})"
    here = holder_of(file)
    return f" (process {here})" if here else ""


def _owner_of(file: Path) -> tuple[int, str] | None:
    """Process and host, where the file system has no locks."""
    with suppress(OSError, ValueError):
        process, host = _owner_file(file).read_text().split()[:2]
        return int(process), host
    return None


def holder_of(file: Path) -> int | None:
    """Process that holds the lock of a file, as far as it is known."""
    if (owner := _owner_of(file)) is not None:
        return owner[0]
    if not _PROC_LOCKS.exists() or not file.exists():
        return None
    inode = str(file.stat().st_ino)
    for line in _PROC_LOCKS.read_text().splitlines():
        words = line.split()
        if len(words) == _FLOCK_WORDS and words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
            return int(words[4])
    return None
