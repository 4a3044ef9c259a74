"""Measurements of cases for the fingerprint, stored so that an unchanged case is not read again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from segflow.contracts.fingerprint import CaseExtent, CaseMeasurement
from segflow.storage.files import DAMAGE, write_array
from segflow.storage.results import ResultFolder

__all__ = ["keep_or_measure"]


def keep_or_measure(
    results: ResultFolder, identifier: str, key: str, measure: Callable[[], CaseMeasurement]
) -> CaseMeasurement:
    """The measurement of a case as it was stored under the same key, or else made and stored."""
    file = results.folder / f"{identifier}.npy"
    entry = results.find(identifier, key)
    if entry is not None:
        with suppress(*DAMAGE):  # it was noted so by another version; it is made again
            return CaseMeasurement(CaseExtent.model_validate(entry.data), np.load(file, allow_pickle=False))
    measured = measure()
    write_array(file, measured.foreground)
    results.note(identifier, key, files=[file], data=measured.extent.model_dump(mode="json"))
    return measured
