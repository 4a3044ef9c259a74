"""The five-fold split. Source: method.md section 10."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.plan import N_FOLDS, Fold

__all__ = ["make_folds"]

_SEED = 12345


def make_folds(identifiers: Sequence[str], patients: Mapping[str, str] | None = None) -> tuple[Fold, ...]:
    """Shuffle the sorted patients with a fixed seed and cut them into five; each case is a patient of its own.

    Args:
        identifiers: Of the cases.
        patients: Whose each case is, if several may be of one. All cases of a patient are held out together; folds
            are as equal in cases as that allows.

    Returns:
        Five folds; every case is held out once. Of fewer than five patients, one fold that holds none out.

    Source: method.md section 10; nnU-Net needs five cases, and knows no patients.
    """
    owner = {name: name if patients is None else patients[name] for name in identifiers}
    names = sorted(set(owner.values()))
    if len(names) < N_FOLDS:
        return (Fold(train=tuple(sorted(owner)), val=()),)
    order = np.arange(len(names))
    np.random.RandomState(_SEED).shuffle(order)
    held_by = {names[k]: fold for fold, part in enumerate(_cut(order, names, owner)) for k in part}
    folds = np.array([held_by[owner[case]] for case in sorted(owner)])
    cases = np.sort(np.asarray(identifiers))
    return tuple(
        Fold(train=tuple(cases[folds != k].tolist()), val=tuple(cases[folds == k].tolist()))
        for k in range(N_FOLDS)
    )


def _cut(order: NDArray[np.intp], names: Sequence[str], owner: Mapping[str, str]) -> list[NDArray[np.intp]]:
    """The shuffled patients in five parts, each of at least one, cut where the cases are divided most equally."""
    sizes = Counter(owner.values())
    reached = np.cumsum([sizes[names[k]] for k in order])
    wanted = np.cumsum([len(part) for part in np.array_split(np.arange(len(owner)), N_FOLDS)])
    cuts: list[int] = []
    for fold in range(1, N_FOLDS):
        nearest = int(np.argmin(np.abs(reached - wanted[fold - 1]))) + 1
        least = (cuts[-1] if cuts else 0) + 1
        cuts.append(min(max(nearest, least), len(order) - (N_FOLDS - fold)))
    return np.split(order, cuts)
