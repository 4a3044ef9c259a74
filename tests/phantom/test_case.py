"""The phantom is deterministic, looks like a scan, and cannot be segmented by a threshold."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import label

from segflow.contracts.case import RawCase
from segflow.phantom.case import make_case


@pytest.fixture(scope="module")
def cases() -> list[RawCase]:
    return [make_case(index, 0) for index in range(6)]


def test_index_and_seed_determine_the_case(cases):
    again = make_case(3, 0)
    np.testing.assert_array_equal(again.image, cases[3].image)
    np.testing.assert_array_equal(again.labels, cases[3].labels)
    assert again.geometry == cases[3].geometry
    for other in (cases[1], make_case(0, 1)):
        assert other.geometry.spacing_mm != cases[0].geometry.spacing_mm
    assert [case.identifier for case in cases[:2]] == ["phantom_000", "phantom_001"]


def test_arrays_and_geometry_are_as_documented(cases):
    for case in cases:
        assert (case.image.dtype, case.labels.dtype) == (np.float32, np.uint8)
        assert case.image.shape == (1, *case.labels.shape)
        assert np.isfinite(case.image).all()
        assert (np.array(case.labels.shape) >= (28, 44, 40)).all()
        assert (np.array(case.labels.shape) <= (40, 64, 60)).all()
        slice_mm, row_mm, column_mm = case.geometry.spacing_mm
        assert 1.2 <= slice_mm <= 2.0
        assert 1.0 <= row_mm == column_mm <= 1.3
        assert any(case.geometry.origin_mm)
    assert len({case.labels.shape for case in cases}) > 3
    np.testing.assert_array_equal(np.reshape(cases[0].geometry.direction, (3, 3)), np.eye(3))


def test_background_is_zero_and_labels_lie_inside_the_body(cases):
    for case in cases:
        body = case.image[0] > 0
        assert 0.2 < body.mean() < 0.5
        assert (case.image[0][~body] == 0).all()
        assert not (case.labels > 0)[~body].any()
        faces = itertools.product(range(3), (0, -1))
        assert all(body.take(index, axis).mean() < 0.05 for axis, index in faces)


def test_the_lesion_is_small_and_bright_and_touches_the_organ(cases):
    for case in cases:
        organ, lesion = case.labels == 1, case.labels == 2
        assert lesion.sum() > 100
        assert organ.sum() > 4 * lesion.sum()
        assert case.image[0][lesion].mean() > 1.15 * case.image[0][organ].mean()
        joined, _ = label(organ | lesion, np.ones((3, 3, 3)))
        assert joined[lesion].min() == joined[lesion].max()
        assert (organ & (joined == joined[lesion].max())).sum() > 0.9 * organ.sum()


@pytest.mark.parametrize(("value", "limit"), [(1, 0.7), (2, 0.8)])
def test_no_interval_of_intensities_finds_a_class(cases, value, limit):
    assert np.mean([best_interval_dice(case.image[0], case.labels == value) for case in cases]) < limit


def best_interval_dice(image: np.ndarray, reference: np.ndarray) -> float:
    edges = np.percentile(image[image > 0], np.linspace(0, 100, 31))
    masks = ((image >= low) & (image <= high) for low, high in itertools.combinations(edges, 2))
    return max(2 * (mask & reference).sum() / (mask.sum() + reference.sum()) for mask in masks)
