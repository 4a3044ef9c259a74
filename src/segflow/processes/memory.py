"""How much memory this process may still take, also beside others that work on cases at the same time."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import Lock, RawArray
from pathlib import Path
from typing import Final

import psutil

from segflow.contracts.errors import MemoryShortageError

__all__ = ["Claims", "available_bytes", "check_memory"]

_SMALL_BYTES: Final = 1 << 26  # for less, free memory is not looked up
_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_GROUPS: Final = Path("/proc/self/cgroup")
#: By the hierarchy of control groups, "" in version 2: limit, usage, and of memory.stat the file cache, of which shared
#: memory is a part.
_FILES: Final = {
    "": ("memory.max", "memory.current", "file", "shmem"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache", "total_shmem"),
}


def available_bytes() -> int:
    """Bytes that are free: of the machine, of the container or the job of a cluster, and within `ulimit -v`."""
    free: list[int] = [psutil.virtual_memory().available, *_left_by_groups()]
    limit_of_addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit_of_addresses != resource.RLIM_INFINITY:
        free.append(limit_of_addresses - psutil.Process().memory_info().vms)
    return max(min(free), 0)


def _left_by_groups() -> Iterator[int]:
    """Bytes within the limit of each control group that this process is in, from its own one up to the root."""
    with suppress(OSError):
        for line in _OWN_GROUPS.read_text().splitlines():
            _, kind, path = line.split(":", 2)
            if kind not in _FILES:
                continue
            root, (most, now, cache, shared) = _CGROUPS / kind, _FILES[kind]
            group = root / path.lstrip("/")
            for folder in (group, *group.parents[: len(group.parts) - len(root.parts)]):
                with suppress(OSError, ValueError, KeyError):  # there may be no limit
                    limit, used = (int((folder / name).read_text()) for name in (most, now))
                    parts = dict(text.split() for text in (folder / "memory.stat").read_text().splitlines())
                    # File cache is given up when memory is needed.
                    yield limit - used + int(parts[cache]) - int(parts[shared])


class Claims:
    """What processes that work on cases at the same time are about to take."""

    def __init__(self, places: int) -> None:
        self._owners, self._goals = RawArray("q", places), RawArray("q", places)
        self._lock = Lock()

    def begin(self, place: int) -> None:
        """From here on, `check_memory` counts for the case at a place, and in this process."""
        global _claims, _place
        _claims, _place = self, place
        self._owners[place] = os.getpid()

    def end(self, place: int) -> None:
        """The case is done."""
        self._goals[place] = 0

    def available_bytes(self, needed: float, place: int) -> int:
        """What the others leave; if it is enough, it is claimed."""
        with self._lock:
            free = available_bytes() - self._of_others(place)
            if needed <= free:
                self._goals[place] = psutil.Process().memory_info().rss + int(needed)
            return free

    def _of_others(self, place: int) -> int:
        """Bytes that they have claimed and do not hold yet."""
        total = 0
        for other, goal in enumerate(self._goals):
            if goal and other != place:
                with suppress(psutil.Error):
                    total += max(0, goal - psutil.Process(self._owners[other]).memory_info().rss)
        return total


_claims: Claims | None = None
_place = 0


def check_memory(needed: float, words: str) -> None:
    """Compare what is needed with what is available, before it is taken.

    Args:
        needed: Bytes.
        words: What needs them; such as "its header declares 3 x 4 x 5 voxels".

    Raises:
        MemoryShortageError: There is less, also because others are about to take it.
    """
    if needed <= _SMALL_BYTES:
        return
    free = available_bytes() if _claims is None else _claims.available_bytes(needed, _place)
    if needed > free:
        raise MemoryShortageError(
            f"{words}, which need {needed / 1e9:.1f} GB of memory, and {max(free, 0) / 1e9:.1f} GB are available; "
            "correct the header, or crop or resample the image, or use a machine with more memory"
        )
