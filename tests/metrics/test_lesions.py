"""Components and their matches, and agreement of volumes, in closed form."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest

from segflow.metrics.lesions import lesion_f1, match_lesions


def line(*stretches, size=60):
    mask = np.zeros((1, 1, size), dtype=bool)
    for start, stop in stretches:
        mask[..., start:stop] = True
    return mask


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ([(0, 10)], [(0, 10)], (1, 0, 0)),
        ([(0, 10)], [(9, 11)], (0, 1, 1)),  # 1 of 11: below 10 %
        ([(0, 9)], [(8, 10)], (1, 0, 0)),  # 1 of 10
        ([(0, 4), (6, 10)], [(0, 10)], (1, 0, 1)),  # in two pieces: one of them matches
        ([(0, 20)], [(0, 4), (10, 20)], (1, 1, 0)),  # merged: the larger one is found
        ([(0, 9), (12, 20)], [(4, 14)], (1, 0, 1)),  # the higher overlap takes precedence
        ([], [(0, 3)], (0, 1, 0)),
        ([(0, 3)], [], (0, 0, 1)),
        ([], [], (0, 0, 0)),
    ],
)
def test_matches(prediction, reference, expected):
    assert match_lesions(line(*prediction), line(*reference)).counts == expected


def test_corners_connect():
    mask = np.zeros((3, 3, 3), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = True
    assert match_lesions(mask, mask).counts == (1, 0, 0)
    assert match_lesions(mask[:, :1], mask[:, :1]).reference.tolist() == [1]


def test_ignored_voxels_are_in_no_component():
    found = match_lesions(line((0, 10), (20, 30)), line((0, 4)), line((4, 40)))
    assert (found.counts, found.predicted.tolist()) == ((1, 0, 0), [4])


def test_sizes_and_which_of_them_match():
    found = match_lesions(line((0, 3), (10, 15), (40, 47)), line((11, 15), (30, 32), (40, 47)))
    assert (found.reference.tolist(), found.found.tolist()) == ([4, 2, 7], [True, False, True])
    assert (found.predicted.tolist(), found.matched.tolist()) == ([3, 5, 7], [False, True, True])


@pytest.mark.parametrize(
    ("counts", "expected"), [((3, 1, 0), 6 / 7), ((0, 1, 0), 0), ((0, 0, 2), 0), ((0, 0, 0), nan)]
)
def test_f1(counts, expected):
    assert lesion_f1(*counts) == pytest.approx(expected, nan_ok=True)
