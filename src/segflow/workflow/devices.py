"""Which GPUs this job may use, and how CUDA is told to use some of them only."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

__all__ = ["VISIBLE", "Device", "devices", "entries", "only"]

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
_ORDER: Final = "CUDA_DEVICE_ORDER"

#: What names a device: an index, or a UUID (a MIG part may be a path-like one).
_ENTRY: Final = re.compile(r"\d+|(GPU|MIG)-[\w/-]+", re.ASCII)
_LISTED: Final = re.compile(r"\s*(\d+)\s*,\s*(GPU-[\w-]+)\s*", re.ASCII)
_SMI_TIMEOUT_S: Final = 60.0  # a driver in trouble lets nvidia-smi hang; a slow one takes seconds


@dataclass(frozen=True)
class Device:
    """A GPU, as CUDA_VISIBLE_DEVICES calls it and as its lock is called: by its UUID, where that is known."""

    name: str
    key: str

    @property
    def by_index_of_smi(self) -> bool:
        """Whether the name is a place in nvidia-smi's list."""
        return self.name.isdigit() and self.key != self.name


def devices() -> tuple[Device, ...]:
    """The GPUs this job may use, each once, by whatever name; none without a driver."""
    text = os.environ.get(VISIBLE)
    names = entries(text or "")
    if text is not None and not names:
        return ()
    uuids = _uuids()
    if text is None:
        names = tuple(uuids)
    # CUDA stops at an index that does not exist; without nvidia-smi there is no telling.
    known = itertools.takewhile(lambda name: not (name.isdigit() and uuids and name not in uuids), names)
    by_key: dict[str, Device] = {}
    for name in known:
        key = _key(name, uuids)
        by_key.setdefault(key, Device(name, key))
    return tuple(by_key.values())


def entries(text: str) -> tuple[str, ...]:
    """The names in CUDA_VISIBLE_DEVICES, up to the first that is none, such as -1: CUDA stops there too."""
    return tuple(itertools.takewhile(_ENTRY.fullmatch, (entry.strip() for entry in text.split(","))))


def _uuids() -> dict[str, str]:
    """Index to UUID, as nvidia-smi lists them; empty without it, or without a working driver."""
    command = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # noqa: S603  fixed words; found on the PATH, as every tool of a job
            command, capture_output=True, text=True, check=True, timeout=_SMI_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    lines = map(_LISTED.fullmatch, done.stdout.splitlines())
    return {line[1]: line[2] for line in lines if line}


def _key(name: str, uuids: dict[str, str]) -> str:
    """The UUID in full where nvidia-smi knows the device, so that all names of a device meet at one lock."""
    if name.isdigit():
        return uuids.get(name, name)
    abbreviated = [uuid for uuid in uuids.values() if uuid.startswith(name)]
    return abbreviated[0] if len(abbreviated) == 1 else name


def _told_to_cuda(leased: Sequence[Device]) -> dict[str, str]:
    told = {VISIBLE: ",".join(device.name for device in leased)}
    if any(device.by_index_of_smi for device in leased):
        # nvidia-smi counts in the order of the PCI bus, CUDA by itself from the fastest: where cards differ, CUDA's
        # device 0 may be one that another job holds under another number.
        told[_ORDER] = "PCI_BUS_ID"
    return told


@contextmanager
def only(leased: Sequence[Device]) -> Iterator[None]:
    """Let CUDA, once it starts in the block, see these devices alone."""
    changes = _told_to_cuda(leased)
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
