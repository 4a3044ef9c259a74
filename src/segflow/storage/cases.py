"""Prepared cases on disk: plain .npy files, read as memory maps, and an entry that is written last."""

from __future__ import annotations

import resource
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.case import CaseRecord, PreparedCase, TrainingCase
from segflow.contracts.codec import Contract
from segflow.contracts.errors import DatasetError, PlanError
from segflow.contracts.labels import Target
from segflow.storage.files import DAMAGE, changed_file, digest_of, write_array
from segflow.storage.results import ResultFolder

__all__ = ["CaseStore"]


class _CaseData(Contract):
    """What is stored of a case beside its arrays; `locations` has the number of voxels of each target, in turn."""

    record: CaseRecord
    locations: tuple[tuple[Target, int], ...]


class CaseStore:
    """A folder of prepared cases; implements `CaseReader`.

    Per case: `<id>_image.npy` (c, z, y, x) float32, `<id>_labels.npy` (z, y, x), `<id>_voxels.npy` (n, 3) with the
    voxels of all targets, `<id>.json`. `previous_stage` is the folder with label maps of a cascade's previous stage.

    Source: method.md section 9.3 for what is stored.
    """

    def __init__(self, folder: Path, *, previous_stage: Path | None = None) -> None:
        self.folder = folder
        self.previous_stage = previous_stage

    def write(self, case: PreparedCase, *, key: str = "") -> str:
        """Store a case with labels; its entry comes last, so a case without one is unfinished.

        Args:
            case: The case.
            key: Names everything that the case was made from, for `find`.

        Returns:
            Digest of what was stored, without the key; equal digests mean equal training data.

        Raises:
            DatasetError: The case has no labels.
        """
        name, results = case.record.identifier, ResultFolder(self.folder)
        if case.labels is None:
            raise DatasetError(f"case {name}: no label file, so nothing to train on")
        results.remove(name)
        _read_data.cache_clear()
        _opened.cache_clear()
        voxels = np.concatenate([*case.locations.values(), np.empty((0, 3))]).astype(np.int32)
        arrays = {"image": case.image, "labels": case.labels, "voxels": voxels}
        for part, array in arrays.items():
            write_array(self._array(name, part), array)
        counts = tuple((target, len(found)) for target, found in case.locations.items())
        data = _CaseData(record=case.record, locations=counts).model_dump(mode="json")
        return results.note(name, key, files=[self._array(name, part) for part in arrays], data=data).digest

    def find(self, identifier: str, key: str) -> str | None:
        """The digest of a case, as `write` returned it; None if it has to be prepared (again)."""
        entry = ResultFolder(self.folder).find(identifier, key)
        return None if entry is None else entry.digest

    def check(self, identifier: str, digest: str) -> None:
        """Refuse a case that is not the one that was stored, though its files can be read.

        Args:
            identifier: The case.
            digest: As of `segflow.storage.manifests.digests_of_cases`.

        Raises:
            PlanError: A file has changed since, or is damaged.
        """
        entry = ResultFolder(self.folder).read(identifier)
        if (changed := changed_file(self.folder, entry.files)) is None:
            found, changed = entry.digest, self.folder / f"{identifier}.json"
            if self.previous_stage is not None and digest.startswith(found):
                changed = self.previous_stage / f"{identifier}.npy"
                found += digest_of(changed) if changed.is_file() else ""
            if found == digest:
                return
        raise PlanError(
            f"case {identifier}: {changed} is not the file that was prepared, or is damaged; remove "
            f"{changed.parent / 'manifest'}* and call the workflow again, which makes this case anew"
        )

    def read(self, identifier: str) -> TrainingCase:
        """A case, as memory maps.

        Raises:
            PlanError: It is not in the store.
        """
        voxels, start = _cached_map(self._array(identifier, "voxels")), 0
        locations = {}
        for target, count in _read_data(self.folder, identifier).locations:
            locations[target] = voxels[start : start + count]
            start += count
        previous = None
        if self.previous_stage is not None:
            previous = _open_map(self.previous_stage / f"{identifier}.npy")
        return TrainingCase(
            image=_cached_map(self._array(identifier, "image")),
            labels=_cached_map(self._array(identifier, "labels")),
            locations=locations,
            previous_stage=previous,
        )

    def record(self, identifier: str) -> CaseRecord:
        """The record of the case's preprocessing.

        Raises:
            PlanError: The case is not in the store.
        """
        return _read_data(self.folder, identifier).record

    def _array(self, identifier: str, part: str) -> Path:
        return self.folder / f"{identifier}_{part}.npy"


def _open_map(path: Path) -> NDArray[Any]:
    return _open(path)[0]


def _open(path: Path) -> tuple[NDArray[Any], Callable[[], int], int]:
    """A map, a function that gives the size of its file, and the bytes that it needs."""
    try:
        mapped = np.lib.format.open_memmap(path, mode="r")
        size = mapped._mmap.size  # type: ignore[attr-defined]
        return np.asarray(mapped).view(np.ndarray), size, mapped.offset + mapped.nbytes
    except FileNotFoundError:
        raise PlanError(f"{path} does not exist; run the preprocessing of this case again") from None
    except DAMAGE as problem:
        raise PlanError(f"{path} is damaged ({problem}); run the preprocessing of this case again") from None


#: Opening a map costs more than cutting a small patch out of one that is open. Each holds a file descriptor, of which a
#: process may have 256 on some systems.
_MAY_BE_OPEN: Final = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
_opened = lru_cache(maxsize=256 if _MAY_BE_OPEN == resource.RLIM_INFINITY else min(256, _MAY_BE_OPEN // 4))(
    _open
)


def _cached_map(path: Path) -> NDArray[Any]:
    """A map that stays open; the system kills a process that reads one whose file has become shorter."""
    array, size, needed = _opened(path)
    if size() < needed:
        raise PlanError(f"{path} was cut short while it was in use; run the preprocessing of this case again")
    return array


@lru_cache(maxsize=4096)
def _read_data(folder: Path, identifier: str) -> _CaseData:
    entry = ResultFolder(folder).read(identifier)
    return _CaseData.parse(entry.data, where=f"{identifier}.json", error=PlanError)
