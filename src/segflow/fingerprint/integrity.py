"""Faults and oddities of cases that would spoil everything after them. Source: method.md section 4."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segflow.contracts.case import Case, RawCase
from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels

__all__ = ["case_warnings", "check_label_values"]


def check_label_values(raw: RawCase, case: Case, labels: Labels) -> tuple[int, ...]:
    """Refuse a label map with values that dataset.json does not name.

    Args:
        raw: The case as read.
        case: Its files, for the message.
        labels: The label table.

    Returns:
        The values that occur, ascending.

    Raises:
        DatasetError: There is such a value.

    Source: method.md section 4.
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
    """What may be meant, but is worth a look.

    Args:
        raw: The case as read.
        case: Its files, for the message.
        found: Label values that occur.
        labels: The label table.

    Returns:
        One line each, naming the case.

    Source: method.md section 4: the peer means to warn of a label file without foreground, but never does.

    """
    if not found or set(found) & set(labels.foreground_values):
        return raw.warnings
    return (
        *raw.warnings,
        f"case {raw.identifier}: label file {case.label} has no foreground, only {', '.join(map(str, found))}",
    )
