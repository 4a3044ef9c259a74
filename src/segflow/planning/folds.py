"""The five-fold split. Source: method.md section 10."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segflow.contracts.errors import PlanError
from segflow.contracts.plan import N_FOLDS, Fold

__all__ = ["check_folds", "make_folds"]

_SEED = 12345


def make_folds(identifiers: Sequence[str]) -> tuple[Fold, ...]:
    """Shuffle the sorted cases with a fixed seed and cut them into five.

    Returns:
        Five folds; every case is held out once. Of fewer than five cases, one fold that holds none out.

    Source: method.md section 10; nnU-Net needs five cases.
    """
    names = np.sort(np.asarray(identifiers))
    if len(names) < N_FOLDS:
        return (Fold(train=tuple(names.tolist()), val=()),)
    order = np.arange(len(names))
    np.random.RandomState(_SEED).shuffle(order)
    return tuple(
        Fold(train=_pick(names, np.setdiff1d(order, held_out)), val=_pick(names, held_out))
        for held_out in np.array_split(order, N_FOLDS)
    )


def check_folds(folds: Sequence[Fold], identifiers: Sequence[str], *, where: str) -> None:
    """Refuse folds of a file (`where`, for messages) that do not fit the data set.

    Raises:
        PlanError: A fold names a case that does not exist, is empty, or trains on a case that it holds out.
    """
    known = set(identifiers)
    for number, fold in enumerate(folds):
        unknown = sorted({*fold.train, *fold.val} - known)
        if unknown:
            raise PlanError(f"{where}: fold {number} names {unknown[0]}, which is not a case of the data set")
        shared = sorted(set(fold.train) & set(fold.val))
        if shared:
            raise PlanError(f"{where}: fold {number} trains on {shared[0]}, which it also holds out")
        if not fold.train or not fold.val:
            raise PlanError(f"{where}: fold {number} has no training or no held-out cases")


def _pick(names: np.ndarray, positions: np.ndarray) -> tuple[str, ...]:
    return tuple(str(name) for name in names[np.sort(positions)])
