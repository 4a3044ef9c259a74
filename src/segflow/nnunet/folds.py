"""nnU-Net's splits_final.json. Source: method.md section 10."""

from __future__ import annotations

from pathlib import Path

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
    data = {"folds": read_json(path, error=PlanError)}
    return _Folds.parse(data, where=str(path), error=PlanError).folds


def write_folds(path: Path, folds: tuple[Fold, ...]) -> None:
    """Write splits_final.json."""
    write_json(path, [fold.model_dump(mode="json") for fold in folds])
