"""What the fingerprint measured of each case, kept so that a case that did not change is not read again."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from segflow.contracts.fingerprint import CaseMeasurement
from segflow.storage.files import write_atomically

__all__ = ["MeasurementStore"]

_DAMAGE = (OSError, EOFError, ValueError, KeyError, BadZipFile)


class MeasurementStore:
    """A folder with a file IDENTIFIER.npz per case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, identifier: str, key: str) -> CaseMeasurement | None:
        """The measurement of a case.

        Args:
            identifier: Of the case.
            key: Names all that it is made from, as it was given to `write`.

        Returns:
            None if there is none, it was made from something else, or the file is damaged.
        """
        try:
            with np.load(self._file(identifier), allow_pickle=False) as stored:
                if str(stored["key"]) != key:
                    return None
                z, y, x = (int(size) for size in stored["shape_after_crop"])
                z_mm, y_mm, x_mm = (float(size) for size in stored["spacing_mm"])
                return CaseMeasurement(
                    (z, y, x), (z_mm, y_mm, x_mm), float(stored["relative_size"]), stored["foreground"]
                )
        except _DAMAGE:
            return None

    def write(self, identifier: str, key: str, measured: CaseMeasurement) -> None:
        """Keep the measurement of a case."""

        def save(temporary: Path) -> None:
            np.savez(
                temporary,
                key=np.asarray(key),
                shape_after_crop=np.asarray(measured.shape_after_crop),
                spacing_mm=np.asarray(measured.spacing_mm),
                relative_size=np.asarray(measured.relative_size),
                foreground=measured.foreground,
            )

        write_atomically(self._file(identifier), save)

    def keep_only(self, identifiers: Collection[str]) -> None:
        """Remove what belongs to cases that the data set no longer has."""
        wanted = {self._file(identifier) for identifier in identifiers}
        for file in set(self.folder.glob("*.npz")) - wanted:
            file.unlink(missing_ok=True)

    def _file(self, identifier: str) -> Path:
        return self.folder / f"{identifier}.npz"
