"""The five-fold split. Source: method.md section 10."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segflow.contracts.plan import N_FOLDS, Fold

__all__ = ["make_folds"]

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


def _pick(names: np.ndarray, positions: np.ndarray) -> tuple[str, ...]:
    return tuple(str(name) for name in names[np.sort(positions)])
