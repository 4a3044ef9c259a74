"""Checks of single cases. Source: method.md section 4."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segflow.contracts.case import Case, RawCase
from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels

__all__ = ["case_warnings", "check_label_values"]


def check_label_values(raw: RawCase, case: Case, labels: Labels) -> tuple[int, ...]:
    """The label values that occur in a case, ascending.

    Args:
        raw: The case as read.
        case: Its files, for the message.
        labels: Those of the data set.

    Raises:
        DatasetError: There is a value that dataset.json does not name.
    """
    if raw.labels is None:
        return ()
    allowed = {*labels.values, *([] if labels.ignore is None else [labels.ignore])}
    found = tuple(int(value) for value in np.unique(raw.labels))
    unknown = [value for value in found if value not in allowed]
    if unknown:
        raise DatasetError(
            f"case {raw.identifier}: label file {case.label} holds the value {unknown[0]}, which dataset.json does "
            f"not name (it names {sorted(allowed)}); correct the label file or add the value to 'labels'"
        )
    return found


def case_warnings(raw: RawCase, case: Case, found: Sequence[int], labels: Labels) -> tuple[str, ...]:
    """Warnings about a case: those of its files, and that there is no foreground among the label values found.

    Source: method.md section 4; nnU-Net intends the latter warning but never gives it.
    """
    if not found or set(found) & set(labels.foreground_values):
        return raw.warnings
    return (
        *raw.warnings,
        f"case {raw.identifier}: label file {case.label} has no foreground, only {', '.join(map(str, found))}",
    )
