"""GPUs for jobs that run side by side on one machine: each job holds its own until it ends, however it ends.

Snakemake counts GPUs (`--resources gpu=2`) and does not say which job gets which. A lease is a lock on a file per
device, so nothing has to be cleaned up, not even after a SIGKILL.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from segflow.contracts.errors import ConfigurationError
from segflow.processes.locks import holder_of, try_lock

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["count_gpus", "leased_gpus"]

logger = logging.getLogger("segflow")

_QUIET_S: Final = 5.0  # a longer wait is worth a line
_PAUSE_S: Final = (0.1, 0.4)  # between two tries; random, so that jobs do not keep colliding
_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"

#: What names a device: an index, or a UUID (of a part of a GPU, it may look like a path).
_NAME: Final = re.compile(r"\d+|(GPU|MIG)-[\w/-]+", re.ASCII)
_LISTED: Final = re.compile(r"\s*(\d+)\s*,\s*(GPU-[\w-]+)\s*", re.ASCII)
#: What names a GPU where nvidia-smi does not: a folder per GPU, in the order of the PCI bus, and its lines.
_DRIVER: Final = Path("/proc/driver/nvidia/gpus")
_DESCRIBED: Final = re.compile(r"GPU UUID:\s*(GPU-[\da-f-]+)\s.*?Device Minor:\s*(\d+)", re.ASCII | re.DOTALL)
#: Has nvidia0, nvidia1, ...: the GPUs that this process, perhaps in a container, may open.
_NODES: Final = Path("/dev")
_WHOLE: Final = "machine"  # stands for all its GPUs together
_SMI_TIMEOUT_S: Final = 60.0  # with a driver in trouble nvidia-smi hangs; with a slow one it takes seconds


@contextmanager
def leased_gpus(count: int, *, folder: Path | None = None) -> Iterator[tuple[str, ...]]:
    """Hold GPUs of this machine for the block; wait until enough of them are free.

    Must be entered before CUDA starts, best before torch is imported: CUDA_VISIBLE_DEVICES, which names the leased
    GPUs in the block, is read only then. Nothing is changed for 0 GPUs, in a SLURM job that was given just these
    devices, and where there is no GPU, which the block finds out. Where there are GPUs that nothing lists, a job that
    asks for any holds all of them.

    Args:
        count: GPUs to hold.
        folder: Folder of the locks; leases are seen by all who use the same. By default it lies in the machine's
            temporary folder, for everybody; users with a TMPDIR of their own, and containers, do not see each other's.

    Yields:
        The GPUs, named as in CUDA_VISIBLE_DEVICES, or by nvidia-smi's index where that is not set. None, or unknown
        ones: ().

    Raises:
        ConfigurationError: There are fewer, or the locks cannot be used.
        RuntimeError: This process holds a lease already.
    """
    if count == 0:
        yield _names(os.environ.get(_VISIBLE, ""))
        return
    candidates = _devices()
    if not candidates and _are_unlisted():
        logger.warning(
            "the GPUs of this machine cannot be listed, so a job that asks for one holds all of them; "
            "name them in %s to share them among jobs",
            _VISIBLE,
        )
        with _leased({_WHOLE: _WHOLE}, 1, folder):
            yield ()
        return
    if not candidates or ("SLURM_JOB_ID" in os.environ and count == len(candidates)):
        yield tuple(candidates)
        return
    if count > len(candidates):
        raise ConfigurationError(
            f"the job asks for {count} GPUs (resources.gpus) and may use {len(candidates)} here "
            f"({_listing(candidates)}); lower resources.gpus, and let --resources gpu= be at most {len(candidates)}, "
            f"or name more devices in {_VISIBLE}"
        )
    with _leased(candidates, count, folder) as names, _visible({name: candidates[name] for name in names}):
        yield names


# Locks.


@contextmanager
def _leased(devices: Mapping[str, str], count: int, folder: Path | None) -> Iterator[tuple[str, ...]]:
    """Hold the locks of some devices."""
    locks = _wait_for(devices, count, folder or Path(tempfile.gettempdir(), "segflow-gpus"))
    try:
        for name in locks:
            logger.info("GPU %s leased", name)
        yield tuple(locks)
    finally:
        for name, lock in locks.items():
            logger.info("GPU %s returned", name)  # first, so that logs never show two holders
            lock.release()


def _listing(names: Iterable[str]) -> str:
    return ", ".join(f"GPU {name}" for name in names)


def _lock_file(folder: Path, key: str) -> Path:
    return folder / f"{key.replace('/', '_')}.lock"


def _wait_for(devices: Mapping[str, str], count: int, folder: Path) -> dict[str, BaseFileLock]:
    began = time.monotonic()
    has_warned = False
    while not (locks := _try_locks(devices, count, folder)):
        if not has_warned and time.monotonic() - began >= _QUIET_S:
            has_warned = True
            holders = {name: holder_of(_lock_file(folder, key)) for name, key in devices.items()}
            texts = [f"process {holder} holds GPU {name}" for name, holder in holders.items() if holder]
            # A warning, because whoever runs a command by hand sees nothing less and thinks that it hangs.
            logger.warning(
                "waiting for %d of %s: %s",
                count,
                _listing(devices),
                ", ".join(texts) or "other processes hold them",
            )
        time.sleep(random.uniform(*_PAUSE_S))  # noqa: S311
    return locks


def _try_locks(devices: Mapping[str, str], count: int, folder: Path) -> dict[str, BaseFileLock]:
    """Lock as many devices as are wanted, or none: jobs that held one while waiting for another could deadlock.

    In a folder where everybody may write, another user may have put links. They are not followed, and as nothing is
    ever written to a lock file, a second name of some other file does no harm.
    """
    locks: dict[str, BaseFileLock] = {}
    path = folder
    umask = os.umask(0)  # all may add and lock files; nobody may remove another's (the sticky bit)
    try:
        folder.mkdir(mode=0o1777, exist_ok=True)
        if folder.is_symlink():
            raise NotADirectoryError("it is a link")
        for name, key in devices.items():
            path = _lock_file(folder, key)
            lock = try_lock(path)
            if lock is not None:
                locks[name] = lock
            if len(locks) == count:
                return locks
    except OSError as error:
        raise ConfigurationError(
            f"no GPU can be leased: {path} cannot be used ({error.strerror or error}); have the folder segflow-gpus "
            "removed when no training runs, or set TMPDIR to a folder that all users of these GPUs share"
        ) from error
    finally:
        os.umask(umask)
        if len(locks) < count:
            for lock in locks.values():
                lock.release()
    return {}


# Devices.


def count_gpus() -> int:
    """How many GPUs this process may use; 1 if there are some that nothing lists."""
    return len(_devices()) or int(_are_unlisted())


def _are_unlisted() -> bool:
    return _VISIBLE not in os.environ and bool(_nodes())


def _devices() -> dict[str, str]:
    """The GPUs this job may use, each once, by whatever name, with the key that all its names share.

    The key is the UUID in full where nvidia-smi or the driver knows the device, else the name.
    """
    text = os.environ.get(_VISIBLE)
    names = _names(text or "")
    if text is not None and not names:
        return {}
    uuids = _uuids()
    if text is None:
        names = tuple(uuids)
    found: dict[str, str] = {}
    for name in names:
        if name.isdigit() and uuids and name not in uuids:
            break  # CUDA stops at an index that does not exist; without nvidia-smi there is no telling
        abbreviated = [uuid for uuid in uuids.values() if uuid.startswith(name)]
        key = abbreviated[0] if len(abbreviated) == 1 else uuids.get(name, name)
        if key not in found.values():
            found[name] = key
    return found


def _names(text: str) -> tuple[str, ...]:
    """The names in CUDA_VISIBLE_DEVICES, up to the first that is none, such as -1: CUDA stops there, too."""
    return tuple(itertools.takewhile(_NAME.fullmatch, (name.strip() for name in text.split(","))))


def _uuids() -> dict[str, str]:
    """Index to UUID, as nvidia-smi lists them, or else the driver; empty without a working driver."""
    command = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    problem = "it lists none"
    try:
        done = subprocess.run(  # noqa: S603  fixed words; found on the PATH, as every tool of a job
            command, capture_output=True, text=True, check=True, timeout=_SMI_TIMEOUT_S
        )
        lines = map(_LISTED.fullmatch, done.stdout.splitlines())
        if found := {line[1]: line[2] for line in lines if line}:
            return found
    except (OSError, subprocess.SubprocessError) as error:
        problem = str(error)
    if found := _described_by_driver():
        logger.warning("nvidia-smi names no GPU (%s); the driver's own list is used", problem)
    return found


def _described_by_driver() -> dict[str, str]:
    """As nvidia-smi counts: in the order of the PCI bus, those that this process may open; all of them or none."""
    nodes = _nodes()
    try:
        texts = [file.read_text() for file in sorted(_DRIVER.glob("*/information"))]
    except OSError:
        return {}
    matches = [_DESCRIBED.search(text) for text in texts]
    uuids = [match[1] for match in matches if match and f"nvidia{match[2]}" in nodes]
    return {str(index): uuid for index, uuid in enumerate(uuids)} if len(uuids) == len(nodes) else {}


def _nodes() -> set[str]:
    """The device files of GPUs; none without a driver."""
    return {file.name for file in _NODES.glob("nvidia[0-9]*")}


@contextmanager
def _visible(leased: Mapping[str, str]) -> Iterator[None]:
    """Let CUDA, once it starts in the block, see only these devices."""
    changes = {_VISIBLE: ",".join(leased)}
    if any(name.isdigit() and key != name for name, key in leased.items()):
        # nvidia-smi counts in the order of the PCI bus, CUDA by itself from the fastest: where cards differ, CUDA's
        # device 0 may be one that another job holds under another number.
        changes["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    before = {name: os.environ[name] for name in changes if name in os.environ}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name in changes:
            del os.environ[name]
        os.environ.update(before)
