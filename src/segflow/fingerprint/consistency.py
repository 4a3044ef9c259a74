"""Warnings that only all cases of a data set together show.

Apart from `integrity`, which concerns single cases: a change there repeats only the checks, not the measurements.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from segflow.contracts.artefacts import CheckedCase
from segflow.contracts.case import Dataset
from segflow.contracts.labels import Labels
from segflow.contracts.plan import N_FOLDS

__all__ = ["absent_labels", "dataset_warnings", "equal_images"]


def dataset_warnings(dataset: Dataset, checked: Sequence[CheckedCase]) -> tuple[str, ...]:
    """A line if there are few cases, for each set of identical ones and for each absent label.

    There is none until all cases have been checked.

    Args:
        dataset: The data set.
        checked: Its cases that have been checked; others are ignored.
    """
    by_name = {case.identifier: case for case in checked}
    cases = [by_name[case.identifier] for case in dataset.cases if case.identifier in by_name]
    if len(cases) < len(dataset.cases):
        return ()
    few = [] if dataset.folds_file or len(cases) >= N_FOLDS else [_few_cases(len(cases))]
    return (*few, *equal_images(cases), *absent_labels(cases, dataset.labels))


def _few_cases(n: int) -> str:
    return (
        f"{n} {'case is' if n == 1 else 'cases are'} too few for a cross-validation, which needs {N_FOLDS} or a "
        "splits_final.json: one network is trained on all, and nothing is scored"
    )


def equal_images(cases: Sequence[CheckedCase]) -> tuple[str, ...]:
    """Cases with identical image files, which could be in training and validation: a line per group."""
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for case in cases:
        groups[tuple(digest for _, digest in sorted(case.images.items()))].append(case.identifier)
    return tuple(
        f"cases {', '.join(names)} have the same images, byte by byte"
        for names in groups.values()
        if len(names) > 1
    )


def absent_labels(cases: Sequence[CheckedCase], labels: Labels) -> tuple[str, ...]:
    """Labels that occur in no case, so that they cannot be learned: a line per label."""
    found = {value for case in cases for value in case.label_values}
    names = {value: name for name, value in labels.entries}
    return tuple(
        f"label {value}{f' ({names[value]})' if value in names else ''} occurs in no case"
        for value in labels.foreground_values
        if value not in found
    )
