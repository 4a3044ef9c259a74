"""Warnings that only all cases of a data set together show.

Apart from `integrity`, which concerns single cases: a change there repeats only the checks, not the measurements.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from segflow.contracts.arrays import SpacingMm, lengths_text
from segflow.contracts.artefacts import CheckedCase
from segflow.contracts.case import Dataset
from segflow.contracts.labels import Labels
from segflow.contracts.plan import N_FOLDS

__all__ = ["absent_labels", "dataset_warnings", "equal_images", "unusual_spacings"]

_FAR = 5.0  # times the middle half of the cases


def dataset_warnings(dataset: Dataset, checked: Sequence[CheckedCase]) -> tuple[str, ...]:
    """A line if there are few cases, for each case of unusual spacing, set of identical ones and absent label.

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
    spacings = {case.identifier: case.spacing_mm for case in cases}
    unusual = unusual_spacings(spacings, tuple(spacings.values()))
    return (*few, *unusual, *equal_images(cases), *absent_labels(cases, dataset.labels))


def unusual_spacings(cases: Mapping[str, SpacingMm], known: Sequence[SpacingMm]) -> tuple[str, ...]:
    """Cases whose voxels are far larger or smaller than those of most others, so that their header may be wrong.

    Args:
        cases: Spacing along z, y, x by identifier.
        known: Those of a data set; far is five times beyond their middle half. Nothing is unusual if there are none.
    """
    if not cases or not known:
        return ()
    low, median, high = np.percentile(np.array(known), [25, 50, 75], axis=0)
    return tuple(
        f"case {name}: its voxels measure {lengths_text(spacing_mm)} mm (z, y, x), but those of the data set mostly "
        f"{lengths_text(median)}; correct the header if it is wrong"
        for name, spacing_mm in cases.items()
        if (spacing_mm < low / _FAR).any() or (spacing_mm > high * _FAR).any()
    )


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
        f"cases {', '.join(names)} have the same images, byte by byte; give them one patient "
        "(`patients`), or else one may be trained on where the other is scored"
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
