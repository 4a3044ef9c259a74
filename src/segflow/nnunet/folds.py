"""nnU-Net's splits_final.json. Source: method.md section 10."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segflow.contracts.codec import Contract
from segflow.contracts.errors import PlanError
from segflow.contracts.plan import Fold
from segflow.storage.files import read_json, write_json

__all__ = ["read_folds", "write_folds"]


class _Folds(Contract):
    folds: tuple[Fold, ...]


def read_folds(path: Path) -> tuple[Fold, ...]:
    """Read splits_final.json.

    Raises:
        PlanError: The file is missing or cannot be understood.
    """
    found = read_json(path, error=PlanError)
    if isinstance(found, list):  # other keys, such as "test", are ignored, as in nnU-Net
        found = [_of_a_fold(fold) if isinstance(fold, dict) else fold for fold in found]
    data = {"folds": found}
    return _Folds.parse(data, where=str(path), error=PlanError).folds


def _of_a_fold(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key in Fold.model_fields}


def write_folds(path: Path, folds: tuple[Fold, ...]) -> None:
    """Write splits_final.json."""
    write_json(path, [fold.model_dump(mode="json") for fold in folds])
