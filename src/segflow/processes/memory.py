"""How much memory this process may still take."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

__all__ = ["available_bytes"]

_CGROUP: Final = Path("/sys/fs/cgroup")  # of the container, or of the job that a cluster's scheduler runs


def available_bytes() -> int:
    """Bytes that are free: of the machine, within the container's limit and within `ulimit -v`."""
    free: list[int] = [psutil.virtual_memory().available]
    with suppress(OSError, ValueError, KeyError):  # there may be no limit
        limit, used = (int((_CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        parts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        cached = int(parts["file"]) - int(parts["shmem"])  # file cache, given up when memory is needed
        free.append(limit - used + cached)
    limit_of_addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit_of_addresses != resource.RLIM_INFINITY:
        free.append(limit_of_addresses - psutil.Process().memory_info().vms)
    return max(min(free), 0)
