"""The phantom is deterministic, looks like a scan, and cannot be segmented by a threshold."""

from __future__ import annotations

import itertools
from time import perf_counter

import numpy as np
import pytest
from scipy.ndimage import label

from segflow.phantom.case import PhantomCase, make_case


@pytest.fixture(scope="module")
def cases() -> list[PhantomCase]:
    return [make_case(index, 0) for index in range(12)]


def test_same_numbers_same_case(cases):
    again = make_case(3, 0)
    np.testing.assert_array_equal(again.image, cases[3].image)
    np.testing.assert_array_equal(again.labels, cases[3].labels)
    assert (again.spacing_mm, again.origin_mm) == (cases[3].spacing_mm, cases[3].origin_mm)


def test_other_index_or_seed_is_another_case(cases):
    for other in (cases[1], make_case(0, 1)):
        assert other.spacing_mm != cases[0].spacing_mm
    assert [case.identifier for case in cases[:2]] == ["phantom_000", "phantom_001"]


def test_arrays_have_the_promised_form(cases):
    for case in cases:
        assert case.image.dtype == np.float32
        assert case.labels.dtype == np.uint8
        assert case.image.shape == (1, *case.labels.shape)
        assert np.isfinite(case.image).all()
        assert all(
            low <= n <= high
            for n, low, high in zip(case.labels.shape, (28, 44, 40), (40, 64, 60), strict=True)
        )


def test_geometry_varies_within_its_ranges(cases):
    slices_mm, rows_mm, columns_mm = np.array([case.spacing_mm for case in cases]).T
    assert ((slices_mm >= 1.2) & (slices_mm <= 2.0)).all()
    assert ((rows_mm >= 1.0) & (rows_mm <= 1.3)).all()
    np.testing.assert_array_equal(rows_mm, columns_mm)
    assert len({case.labels.shape for case in cases}) > 6
    assert all(any(case.origin_mm) for case in cases)
    np.testing.assert_array_equal(np.reshape(cases[0].direction, (3, 3)), np.eye(3))


def test_background_is_zero_and_truth_lies_inside_the_body(cases):
    for case in cases:
        body = case.image[0] > 0
        assert 0.2 < body.mean() < 0.5
        assert (case.image[0][~body] == 0).all()
        assert not (case.labels > 0)[~body].any()
        faces = itertools.product(range(3), (0, -1))
        assert all(body.take(index, axis).mean() < 0.05 for axis, index in faces)


def test_both_classes_are_there_and_differ_in_size(cases):
    for case in cases:
        organ, lesion = ((case.labels == value).sum() for value in (1, 2))
        assert lesion > 100
        assert organ > 4 * lesion


def test_the_lesion_is_brighter_and_touches_the_organ(cases):
    for case in cases:
        organ, lesion = case.labels == 1, case.labels == 2
        assert case.image[0][lesion].mean() > 1.15 * case.image[0][organ].mean()
        joined, _ = label(organ | lesion, np.ones((3, 3, 3)))
        assert joined[lesion].min() == joined[lesion].max()
        assert (organ & (joined == joined[lesion].max())).sum() > 0.9 * organ.sum()


@pytest.mark.parametrize(("value", "limit"), [(1, 0.7), (2, 0.8)])
def test_no_interval_of_intensities_finds_a_class(cases, value, limit):
    dice = [_best_interval_dice(case.image[0], case.labels == value) for case in cases]
    assert np.mean(dice) < limit


def test_a_case_takes_no_time():
    start = perf_counter()
    make_case(0, 5)
    assert perf_counter() - start < 0.5


def _best_interval_dice(image: np.ndarray, reference: np.ndarray) -> float:
    edges = np.percentile(image[image > 0], np.linspace(0, 100, 31))
    masks = ((image >= low) & (image <= high) for low, high in itertools.combinations(edges, 2))
    return max(2 * (mask & reference).sum() / (mask.sum() + reference.sum()) for mask in masks)
