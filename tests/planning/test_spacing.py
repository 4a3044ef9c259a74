"""Target spacing, axis order and median shape by hand."""

from __future__ import annotations

import pytest
from fingerprint_samples import fingerprint_of

from segflow.planning.spacing import axis_order, inverse_order, median_shape_at, target_spacing


def test_median_spacing():
    sample = fingerprint_of(
        [((1, 2, 1), (50, 50, 50)), ((2, 1, 1), (50, 50, 50)), ((3, 3, 1.5), (9, 50, 50))]
    )
    assert target_spacing(sample).target_mm == (2.0, 2.0, 1.0)


def test_coarse_axis_takes_the_tenth_percentile():
    cases = [((float(mm), 1.0, 1.0), (20, 200, 200)) for mm in range(2, 13)]  # 2..12 mm: 10th percentile 3
    assert target_spacing(fingerprint_of(cases)).target_mm == (3.0, 1.0, 1.0)


def test_coarse_axis_stays_coarsest():
    cases = [((0.5, 1.0, 1.0), (20, 200, 200))] * 2 + [((6.0, 1.0, 1.0), (20, 200, 200))] * 8
    assert target_spacing(fingerprint_of(cases)).target_mm == (1.00001, 1.0, 1.0)


def test_coarse_axis_may_become_as_fine_as_the_others():
    cases = [((1.0, 1.0, 1.0), (20, 200, 200))] * 2 + [((6.0, 1.0, 1.0), (20, 200, 200))] * 8
    assert target_spacing(fingerprint_of(cases)).target_mm == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("coarse_mm", "slices", "lowered"),
    [(3.0, 20, False), (3.01, 20, True), (5.0, 66, True), (5.0, 67, False)],
)
def test_both_conditions_are_strict(coarse_mm, slices, lowered):
    cases = [((2.0, 1.0, 1.0), (slices, 200, 200))] * 2 + [((coarse_mm, 1.0, 1.0), (slices, 200, 200))] * 8
    assert target_spacing(fingerprint_of(cases)).target_mm[0] == (
        pytest.approx(2.0) if lowered else coarse_mm
    )


@pytest.mark.parametrize(
    ("spacing_mm", "order"),
    [((1, 1, 1), (0, 1, 2)), ((1, 3, 2), (1, 0, 2)), ((0.8, 0.8, 6), (2, 0, 1)), ((1, 2, 2), (1, 0, 2))],
)
def test_axis_order(spacing_mm, order):
    assert axis_order(spacing_mm) == order
    inverse = inverse_order(order)
    assert tuple(order[axis] for axis in inverse) == (0, 1, 2)


def test_median_shape_may_be_half():
    sample = fingerprint_of([((1, 1, 1), (36, 50, 35)), ((1, 1, 1), (37, 51, 36))])
    assert median_shape_at(sample, (1, 1, 1)) == (36.5, 50.5, 35.5)


def test_shapes_are_rounded_half_to_even():
    sample = fingerprint_of([((1, 1, 1), (5, 7, 9))])
    assert median_shape_at(sample, (2, 2, 2)) == (2.0, 4.0, 4.0)
