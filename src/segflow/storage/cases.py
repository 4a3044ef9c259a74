"""Prepared cases on disk: plain .npy files, read as memory maps, and an entry that is written last."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import Image, LabelMap, Voxels
from segflow.contracts.case import CaseRecord, TrainingCase
from segflow.contracts.codec import Contract
from segflow.contracts.errors import PlanError
from segflow.contracts.labels import Target
from segflow.storage.files import write_array
from segflow.storage.results import ResultFolder

__all__ = ["CaseStore"]


class _Locations(Contract):
    """Rows of the voxel table that belong to a target."""

    target: int | tuple[int, ...]
    start: int
    stop: int


class _CaseData(Contract):
    record: CaseRecord
    locations: tuple[_Locations, ...]


class CaseStore:
    """A folder of prepared cases; implements `CaseReader`.

    Per case: `<id>_image.npy` (c, z, y, x) float32, `<id>_labels.npy` (z, y, x), `<id>_voxels.npy` (n, 3),
    `<id>.json`. Source: method.md section 9.3 for what is kept.
    """

    def __init__(self, folder: Path, *, previous_stage: Path | None = None) -> None:
        self.folder = folder
        self.previous_stage = previous_stage

    def write(
        self,
        record: CaseRecord,
        image: Image,
        labels: LabelMap,
        locations: dict[Target, Voxels],
        *,
        key: str = "",
    ) -> str:
        """Store one case; its JSON comes last, so a case without one is unfinished.

        Args:
            record: What undoes the preprocessing.
            image: (c, z, y, x), float32.
            labels: (z, y, x), -1 outside the mask.
            locations: Voxels (n, 3) of each target.
            key: Names all that the case was made from, for `find`.

        Returns:
            Digest of what was stored, the key excepted: equal digests mean equal training data.
        """
        name, results = record.identifier, ResultFolder(self.folder)
        results.remove(name)
        _read_data.cache_clear()
        _cached_map.cache_clear()
        rows, table = 0, []
        for target, voxels in locations.items():
            table.append(_Locations(target=target, start=rows, stop=rows + len(voxels)))
            rows += len(voxels)
        pooled = np.concatenate([*locations.values(), np.empty((0, 3))]).astype(np.int32)
        arrays = {"image": image, "labels": labels, "voxels": pooled}
        for part, array in arrays.items():
            write_array(self._array(name, part), array)
        data = _CaseData(record=record, locations=tuple(table)).model_dump(mode="json")
        return results.note(name, key, files=[self._array(name, part) for part in arrays], data=data).digest

    def find(self, identifier: str, key: str) -> str | None:
        """The digest of a case, as `write` returned it; None if it has to be prepared, see `Results.find`."""
        entry = ResultFolder(self.folder).find(identifier, key)
        return None if entry is None else entry.digest

    def read(self, identifier: str) -> TrainingCase:
        """The case, as memory maps.

        Raises:
            PlanError: It is not in the store.
        """
        voxels = _cached_map(self._array(identifier, "voxels"))
        locations: dict[Target, Voxels] = {
            rows.target: voxels[rows.start : rows.stop]
            for rows in _read_data(self.folder, identifier).locations
        }
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
        """What undoes the preprocessing of the case.

        Raises:
            PlanError: It is not in the store.
        """
        return _read_data(self.folder, identifier).record

    def _array(self, identifier: str, part: str) -> Path:
        return self.folder / f"{identifier}_{part}.npy"


def _open_map(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.lib.format.open_memmap(path, mode="r")).view(np.ndarray)
    except FileNotFoundError:
        raise PlanError(f"{path} does not exist; run the preprocessing of this case again") from None


#: Opening a map costs more than cutting a small patch out of one that is open. Each holds a file descriptor.
_cached_map = lru_cache(maxsize=256)(_open_map)


@lru_cache(maxsize=4096)
def _read_data(folder: Path, identifier: str) -> _CaseData:
    entry = ResultFolder(folder).read(identifier)
    return _CaseData.parse(entry.data, where=f"{identifier}.json", error=PlanError)
