"""Preprocessed cases on disk: plain .npy files, read as memory maps, and one JSON that is written last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import Image, LabelMap, Voxels
from segflow.contracts.case import CaseRecord, TrainingCase
from segflow.contracts.codec import Contract
from segflow.contracts.errors import PlanError
from segflow.contracts.labels import Target
from segflow.storage.files import read_contract, write_atomically, write_text

__all__ = ["CaseStore"]

#: What numpy raises for a damaged .npy file: its header is Python text.
_DAMAGE = (EOFError, SyntaxError, TokenError, ValueError)


class _Locations(Contract):
    """Rows of the voxel table that belong to a target."""

    target: int | tuple[int, ...]
    start: int
    stop: int


class _StoredCase(Contract):
    key: str
    digest: str
    record: CaseRecord
    locations: tuple[_Locations, ...]


class CaseStore:
    """A folder of preprocessed cases; implements `CaseReader`.

    Per case: `<id>_image.npy` (c, z, y, x) float32, `<id>_labels.npy` (z, y, x), `<id>_voxels.npy` (n, 3),
    `<id>.json`. Source: method.md section 9.3 for what is kept; the format is ours.
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
            SHA-256 of what was stored, the key excepted: equal digests mean equal training data.
        """
        name = record.identifier
        self._json(name).unlink(missing_ok=True)
        _read_stored.cache_clear()
        _kept_map.cache_clear()
        rows, table = 0, []
        for target, voxels in locations.items():
            table.append(_Locations(target=target, start=rows, stop=rows + len(voxels)))
            rows += len(voxels)
        pooled = np.concatenate([*locations.values(), np.empty((0, 3))]).astype(np.int32)
        self._write_array(f"{name}_image", image)
        self._write_array(f"{name}_labels", labels)
        self._write_array(f"{name}_voxels", pooled)
        stored = _StoredCase(key=key, digest="", record=record, locations=tuple(table))
        digest = _digest(stored, (image, labels, pooled))
        write_text(self._json(name), stored.model_copy(update={"digest": digest}).to_json())
        return digest

    def find(self, identifier: str, key: str) -> str | None:
        """The digest of a case that is stored already, whole and made from the same.

        Args:
            identifier: Of the case.
            key: As it was given to `write`.

        Returns:
            As `write` returned it; None if the case has to be prepared, also because a file is damaged.
        """
        try:
            stored = read_contract(_StoredCase, self._json(identifier))
            arrays = [
                _open_map(self._array(f"{identifier}_{part}")) for part in ("image", "labels", "voxels")
            ]
        except (PlanError, *_DAMAGE):
            return None
        whole = stored.key == key and stored.digest == _digest(stored, arrays)
        return stored.digest if whole else None

    def read(self, identifier: str) -> TrainingCase:
        """The case, as memory maps.

        Raises:
            PlanError: It is not in the store.
        """
        voxels = self._map(f"{identifier}_voxels")
        locations: dict[Target, Voxels] = {
            part.target: voxels[part.start : part.stop] for part in self._stored(identifier).locations
        }
        previous = None
        if self.previous_stage is not None:
            previous = _open_map(self.previous_stage / f"{identifier}.npy")
        return TrainingCase(
            image=self._map(f"{identifier}_image"),
            labels=self._map(f"{identifier}_labels"),
            locations=locations,
            previous_stage=previous,
        )

    def record(self, identifier: str) -> CaseRecord:
        """What undoes the preprocessing of the case.

        Raises:
            PlanError: It is not in the store.
        """
        return self._stored(identifier).record

    def _stored(self, identifier: str) -> _StoredCase:
        return _read_stored(self._json(identifier))

    def _map(self, name: str) -> NDArray[Any]:
        return _kept_map(self._array(name))

    def _array(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def _json(self, identifier: str) -> Path:
        return self.folder / f"{identifier}.json"

    def _write_array(self, name: str, array: NDArray[Any]) -> None:
        def save(temporary: Path) -> None:
            np.save(temporary, array, allow_pickle=False)

        write_atomically(self._array(name), save)


def _digest(stored: _StoredCase, arrays: Iterable[NDArray[Any]]) -> str:
    digest = hashlib.sha256(stored.model_copy(update={"key": "", "digest": ""}).to_json().encode())
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _open_map(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.lib.format.open_memmap(path, mode="r")).view(np.ndarray)
    except FileNotFoundError:
        raise PlanError(f"{path} does not exist; run the preprocessing of this case again") from None


#: Opening a map costs more than cutting a small patch out of one that is open. Each holds a file descriptor.
_kept_map = lru_cache(maxsize=256)(_open_map)


@lru_cache(maxsize=4096)
def _read_stored(path: Path) -> _StoredCase:
    return read_contract(_StoredCase, path)
