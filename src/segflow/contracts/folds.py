"""Whether the folds of a file fit a data set, asked before anything is trained. Source: method.md section 10."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from segflow.contracts.errors import PlanError
from segflow.contracts.plan import Fold

__all__ = ["check_folds", "held_out_twice"]


def check_folds(
    folds: Sequence[Fold],
    identifiers: Collection[str],
    *,
    where: str,
    patients: Mapping[str, str] | None = None,
) -> None:
    """Refuse folds of a file (`where`, for messages) that do not fit the data set.

    Args:
        folds: Of the file.
        identifiers: Of the cases.
        where: For messages: the file.
        patients: Whose each case is, if that is known.

    Raises:
        PlanError: There are no folds; a fold names a case that does not exist, is empty, trains on a case that it
            holds out, or on another of the same patient, or holds one out twice.
    """
    if not folds:
        raise PlanError(f"{where} holds no folds; remove it, or list them")
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
        twice = held_out_twice({number: fold})
        if twice:
            raise PlanError(f"{where}: {twice}")
        _check_patients(fold, patients or {}, where=f"{where}: fold {number}")


def _check_patients(fold: Fold, patients: Mapping[str, str], *, where: str) -> None:
    held_out = {patients[name]: name for name in fold.val if name in patients}
    for name in fold.train:
        patient = patients.get(name)
        if patient in held_out:
            raise PlanError(
                f"{where} trains on {name} and holds out {held_out[patient]}, which are of one patient, {patient}; "
                "hold them out together"
            )


def held_out_twice(folds: Mapping[int, Fold]) -> str | None:
    """The case that folds of one cross-validation hold out more than once, in words, or None."""
    times = Counter(name for fold in folds.values() for name in fold.val)
    name = next((name for name, n in sorted(times.items()) if n > 1), None)
    if name is None:
        return None
    numbers = [str(number) for number, fold in folds.items() if name in fold.val]
    return f"folds {', '.join(numbers)} hold {name} out {times[name]} times; each case is scored once"
