"""Faults of a single case that would spoil everything after it. Source: method.md section 4."""

from __future__ import annotations

import numpy as np

from segflow.contracts.case import RawCase
from segflow.contracts.dataset import Case
from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels

__all__ = ["check_label_values"]


def check_label_values(raw: RawCase, case: Case, labels: Labels) -> None:
    """Refuse a label map with values that dataset.json does not name.

    Args:
        raw: The case as read.
        case: Its files, for the message.
        labels: The label table.

    Raises:
        DatasetError: There is such a value.

    Source: method.md section 4.
    """
    if raw.labels is None:
        return
    allowed = {*labels.values, *([] if labels.ignore is None else [labels.ignore])}
    found = np.unique(raw.labels)
    unknown = [int(value) for value in found if int(value) not in allowed]
    if unknown:
        raise DatasetError(
            f"case {raw.identifier}: label file {case.label} holds the value {unknown[0]}, which dataset.json does "
            f"not name (it names {sorted(allowed)}); correct the label file or add the value to 'labels'"
        )
