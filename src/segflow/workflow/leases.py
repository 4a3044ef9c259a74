"""GPUs for jobs that run side by side on one machine: each job holds its own until it ends, however it ends.

Snakemake counts GPUs (`--resources gpu=2`) and does not say which job gets which. A lease is the kernel's lock
(flock) on a file per device. Nothing has to be cleaned up: the lock is gone with its holder, also after a SIGKILL.
A job's forked workers close their copy of it at birth, because a lock lives as long as any copy of it is open.
"""

from __future__ import annotations

import fcntl
import logging
import os
import random
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from segflow.contracts.errors import ConfigurationError
from segflow.workflow.devices import VISIBLE, Device, devices, entries, only

__all__ = ["leased_gpus"]

logger = logging.getLogger("segflow")

_PATIENCE_S: Final = 5.0  # a wait of this long is worth a line
_PAUSE_S: Final = (0.1, 0.4)  # between two tries; drawn, so that jobs don't get in each other's way again


#: The locks of this process: file descriptor per device.
_locks: dict[Device, int] = {}


@contextmanager
def leased_gpus(count: int, *, folder: Path | None = None) -> Iterator[tuple[str, ...]]:
    """Hold GPUs of this machine for the block; wait until enough of them are free.

    Must be entered before CUDA starts, best before torch is imported: CUDA_VISIBLE_DEVICES, which names the leased
    GPUs in the block, is read only then. Nothing is changed for 0 GPUs, in a SLURM job that was given just these
    devices, and where there is no GPU, which is for the block to find out.

    Leases are seen by all who use the same folder. By default it lies in the machine's temporary folder and is
    everybody's; users with a TMPDIR of their own, and containers, do not see each other's leases.

    Args:
        count: GPUs to hold.
        folder: Of the locks.

    Yields:
        The GPUs, named as in CUDA_VISIBLE_DEVICES, or by nvidia-smi's index where that is not set. None: ().

    Raises:
        ConfigurationError: There are fewer, or the locks cannot be used.
    """
    if count == 0:
        yield entries(os.environ.get(VISIBLE, ""))
        return
    candidates = devices()
    if not candidates or ("SLURM_JOB_ID" in os.environ and count == len(candidates)):
        yield tuple(device.name for device in candidates)
        return
    if count > len(candidates):
        raise ConfigurationError(
            f"the job asks for {count} GPUs (resources.gpus) and may use {len(candidates)} here "
            f"({_listing(candidates)}); lower resources.gpus, and let --resources gpu= be at most {len(candidates)}, "
            f"or name more devices in {VISIBLE}"
        )
    if _locks:  # the environment, which tells CUDA, is the process's
        raise RuntimeError("this process holds a lease already")
    try:
        _wait_for(candidates, count, folder or Path(tempfile.gettempdir(), "segflow-gpus"))
        leased = tuple(_locks)
        with _logged(leased), only(leased):
            yield tuple(device.name for device in leased)
    finally:
        _return_all()


def _listing(devices: Sequence[Device]) -> str:
    return ", ".join(f"GPU {device.name}" for device in devices)


@contextmanager
def _logged(leased: Sequence[Device]) -> Iterator[None]:
    """A line per GPU and change of hands. It is returned only after its line, so logs never show two holders."""
    for device in leased:
        logger.info("GPU %s leased", device.name)
    try:
        yield
    finally:
        for device in leased:
            logger.info("GPU %s returned", device.name)


def _wait_for(devices: Sequence[Device], count: int, folder: Path) -> None:
    """Fill `_locks`."""
    began = time.monotonic()
    said = False
    with _opened_folder(folder) as place:
        while busy := _try(devices, count, place):
            if not said and time.monotonic() - began >= _PATIENCE_S:
                said = True
                # A warning, because whoever runs a command by hand sees nothing less and thinks that it hangs.
                logger.warning(
                    "waiting for %d of %s: %s", count, _listing(devices), _held_by_others(busy, place)
                )
            time.sleep(random.uniform(*_PAUSE_S))  # noqa: S311


def _try(devices: Sequence[Device], count: int, place: int) -> list[Device]:
    """Lock as many devices as are wanted, or none: who kept one while waiting for another could wait for ever.

    Returns those that others hold if there were too few, else nothing.
    """
    busy = []
    for device in devices:
        lock = _open_lock(device, place)
        try:
            with _explained(Path(_file_name(device))):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            busy.append(device)
            continue
        _locks[device] = lock
        if len(_locks) == count:
            for mine in _locks.values():
                _sign(mine, f"{os.getpid()}\n")
            return []
    _return_all()
    return busy


def _return_all() -> None:
    """Unlock, so that they are free even if a copy of a lock is open somewhere."""
    while _locks:
        _, lock = _locks.popitem()
        _sign(lock, "")
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def _close_copies() -> None:
    """In a forked child: the lease is the parent's and must not outlive it."""
    for lock in _locks.values():
        os.close(lock)
    _locks.clear()


os.register_at_fork(after_in_child=_close_copies)


def _sign(lock: int, text: str) -> None:
    """Who holds it, for those who wait; only the lock itself counts, so a full disk does no harm."""
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, text.encode(), 0)


def _held_by_others(busy: Sequence[Device], place: int) -> str:
    texts = []
    for device in busy:
        lock = _open_lock(device, place)
        holder = os.pread(lock, 20, 0).strip()
        os.close(lock)
        process = f"process {holder.decode()}" if holder.isdigit() else "another process"
        texts.append(f"{process} holds GPU {device.name}")
    return ", ".join(texts)


# Files in a place where everybody may write. Another user may have put anything there, under any name, to have us
# write to a file of ours: so links are not followed, and the folder is opened once and not looked up again.


@contextmanager
def _opened_folder(folder: Path) -> Iterator[int]:
    """The folder of the locks, made if missing: all may add files, nobody may remove another's (the sticky bit)."""
    with _for_everybody(), suppress(FileExistsError), _explained(folder):
        folder.mkdir(mode=0o1777)
    with _explained(folder):
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield place
    finally:
        os.close(place)


def _file_name(device: Device) -> str:
    return f"{device.key.replace('/', '_')}.lock"


def _open_lock(device: Device, place: int) -> int:
    """A device's lock file, made if missing, for all to lock and to sign. Not inherited by programs it starts.

    It is never removed: a job could then hold a lock on a file that is no longer there for the next. systemd's
    cleaning of temporary folders passes over files that are locked in this way.
    """
    file = _file_name(device)
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    with _explained(Path(file)):
        while True:
            # In two steps, because Linux (fs.protected_regular) does not let O_CREAT open another user's file here.
            with suppress(FileNotFoundError):
                return _ordinary(os.open(file, flags, dir_fd=place))
            with suppress(FileExistsError), _for_everybody():
                return _ordinary(os.open(file, flags | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=place))


def _ordinary(lock: int) -> int:
    """A lock file as we make it; a second name of some other file would let others choose what we write to."""
    status = os.fstat(lock)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(lock)
        raise PermissionError("it is not an ordinary file")
    return lock


@contextmanager
def _for_everybody() -> Iterator[None]:
    """Make files with the very permissions asked for: changing them afterwards would be too late for the others."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, BlockingIOError):
        raise
    except OSError as error:
        raise ConfigurationError(
            f"no GPU can be leased: {path} cannot be used ({error.strerror or error}); have the folder segflow-gpus "
            "removed when no training runs, or set TMPDIR to a folder that all users of these GPUs share"
        ) from error
