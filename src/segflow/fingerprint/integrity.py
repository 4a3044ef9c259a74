"""Faults and oddities of cases that would spoil everything after them. Source: method.md section 4."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from segflow.contracts.artefacts import CheckedCase
from segflow.contracts.case import RawCase
from segflow.contracts.dataset import Case
from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels

__all__ = ["absent_labels", "case_warnings", "check_label_values", "dataset_warnings", "equal_images"]


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


def dataset_warnings(cases: Sequence[CheckedCase], labels: Labels) -> tuple[str, ...]:
    """What only all cases together show: the same images twice, and labels that never occur.

    Args:
        cases: All of a data set.
        labels: The label table.

    Returns:
        One line each.

    Source: ours.
    """
    return (*equal_images(cases), *absent_labels(cases, labels))


def equal_images(cases: Sequence[CheckedCase]) -> tuple[str, ...]:
    """Cases whose image files are the same byte by byte: the same scan twice, maybe in training and validation.

    Args:
        cases: Some or all of a data set.

    Returns:
        One line per group of equal cases.

    Source: ours.
    """
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for case in cases:
        groups[tuple(digest for _, digest in sorted(case.images.items()))].append(case.identifier)
    return tuple(
        f"cases {', '.join(names)} have the same images, byte by byte"
        for names in groups.values()
        if len(names) > 1
    )


def absent_labels(cases: Sequence[CheckedCase], labels: Labels) -> tuple[str, ...]:
    """Labels that occur in no case, so that nothing can be learned of them.

    Args:
        cases: All of a data set.
        labels: The label table.

    Returns:
        One line per label.

    Source: ours.
    """
    found = {value for case in cases for value in case.label_values}
    names = {value: name for name, value in labels.entries}
    return tuple(
        f"label {value}{f' ({names[value]})' if value in names else ''} occurs in no case"
        for value in labels.foreground_values
        if value not in found
    )
