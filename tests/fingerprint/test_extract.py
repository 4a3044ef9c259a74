"""The fingerprint: tiny cases by hand, statistics like numpy's, and the published one of a real data set."""

from __future__ import annotations

import json

import numpy as np
import pytest
from case_samples import raw_case
from hypothesis import given
from hypothesis import strategies as st

from segflow.contracts.errors import DatasetError
from segflow.fingerprint import extract
from segflow.fingerprint.extract import (
    DrawnIntensities,
    draw_intensities,
    intensity_properties,
    measure_case,
    pool_cases,
    samples_per_case,
)
from segflow.images.cases import read_case
from segflow.images.dataset import read_dataset

NUMBERS = st.floats(
    width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**100), max_value=2.0**100
)
CASES = st.lists(st.lists(NUMBERS, min_size=1, max_size=30), min_size=1, max_size=5)


def part_of(image, labels, n_samples):
    return draw_intensities(measure_case(raw_case(image, labels, (3.0, 2.0, 1.0))), n_samples)


def line(values, labels, n_samples):
    """The part of a case of one row of voxels."""
    return part_of([[[values]]], [[labels]], n_samples)


def all_draws(drawn):
    """Every value as often as it was drawn, ascending."""
    return np.repeat(drawn.values, drawn.counts)


def counted(values):
    found, counts = np.unique(np.asarray(values, np.float32), return_counts=True)
    return DrawnIntensities(found, np.cumsum(counts))


def test_crop_spacing_and_relative_size():
    image = np.zeros((1, 4, 5, 6), np.float32)
    image[0, 1:3, 2:5, 0:5] = 7
    part = part_of(image, np.ones((4, 5, 6)), 10)
    assert (part.extent.shape_after_crop, part.extent.spacing_mm) == ((2, 3, 5), (3.0, 2.0, 1.0))
    assert part.extent.relative_size == 30 / 120
    np.testing.assert_array_equal(all_draws(part.intensities[0]), [7] * 10)
    empty = line([0, 0, 0], [0, 1, 0], 3).extent  # an empty image is not cropped
    assert (empty.shape_after_crop, empty.relative_size) == ((1, 1, 3), 1)


@pytest.mark.parametrize("at_once", [extract._DRAWN_AT_ONCE, 7])
def test_intensities_are_drawn_as_in_the_method_however_many_at_once(at_once, monkeypatch):
    monkeypatch.setattr(extract, "_DRAWN_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    image, labels = rng.normal(size=(2, 4, 5, 6)), rng.integers(0, 3, (4, 5, 6))
    part = part_of(image, labels, 1000)
    random = np.random.RandomState(1234)  # one generator for both channels, in turn
    for channel, drawn in zip(image.astype(np.float32), part.intensities, strict=True):
        expected = random.choice(channel[labels > 0], 1000, replace=True)
        np.testing.assert_array_equal(all_draws(drawn), np.sort(expected))


@pytest.mark.parametrize(
    ("values", "labels", "drawn"),
    [
        ([1, 2, 3, 4], [-1, 0, 1, 9], {3, 4}),  # ignore counts as foreground, outside the mask does not
        ([0, 0, 5, 6], [1, 1, 1, 0], {5}),  # foreground outside the crop is not seen
    ],
)
def test_what_counts_as_foreground(values, labels, drawn):
    assert set(line(values, labels, 200).intensities[0].values) == drawn


def test_statistics_by_hand():
    found = pool_cases([line([2.0, 2.0], [1, 0], 2), line([4.0, 6.0, 1.0], [1, 0, 0], 2)], 1)
    properties = found.foreground_intensity_properties_per_channel["0"]
    assert found.shapes_after_crop == ((1, 1, 2), (1, 1, 3))
    assert found.spacings == ((3.0, 2.0, 1.0),) * 2
    assert (properties.min, properties.max, properties.mean, properties.median) == (2, 4, 3, 3)
    assert properties.std == 1  # of the population
    assert properties.percentile_00_5 == pytest.approx(2)  # of 2, 2, 4, 4: at position 0.015
    assert properties.percentile_99_5 == pytest.approx(4)
    parts = [line(values, [1, 0, 0, 0], 1) for values in ([1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0])]
    assert pool_cases(parts, 1).median_relative_size_after_cropping == 0.5


def test_cases_without_foreground_or_labels():
    parts = [line([5, 5], [0, 0], 9), line([7, 7], [1, 1], 9)]
    assert parts[0].intensities[0].total == 0
    properties = pool_cases(parts, 1).foreground_intensity_properties_per_channel["0"]
    assert (properties.min, properties.max) == (7, 7)
    with pytest.raises(DatasetError, match="no case has any foreground voxel"):
        pool_cases(parts[:1], 1)
    with pytest.raises(DatasetError, match="case one: no label file"):
        measure_case(raw_case([[[[1]]]]))


def test_samples_are_shared_among_the_cases():
    assert samples_per_case(260) == 384_615


def check_like_numpy(cases):
    found = intensity_properties([counted(case) for case in cases])
    pooled = np.concatenate([np.asarray(case, np.float32) for case in cases])
    assert (found.min, found.max) == (pooled.min(), pooled.max())
    percentiles = [found.percentile_00_5, found.median, found.percentile_99_5]
    assert percentiles == [*np.percentile(pooled, [0.5]), np.median(pooled), *np.percentile(pooled, [99.5])]
    exact = pooled.astype(np.float64)
    scale = np.abs(exact).max()
    assert found.mean == pytest.approx(exact.mean(), rel=1e-9, abs=1e-9 * scale)
    assert found.std == pytest.approx(exact.std(), rel=1e-6, abs=1e-6 * scale)


@given(CASES)
def test_statistics_like_numpy(cases):
    check_like_numpy(cases)


def test_statistics_like_numpy_of_many_draws():
    rng = np.random.default_rng(0)
    check_like_numpy([rng.normal(100, 30, 4001) for _ in range(7)])


def test_a_case_without_draws_makes_the_array_double():
    values = np.random.default_rng(0).normal(100, 30, 4000).astype(np.float32)
    found = intensity_properties([counted(values), counted([])])
    assert found.median == np.median(values.astype(np.float64))
    assert found.median != intensity_properties([counted(values)]).median == np.median(values)


def test_negative_zero_is_zero():
    assert intensity_properties([counted([-0.0, 0.0, -1.0]), counted([0.0, 2.0])]).median == 0


@pytest.mark.data
@pytest.mark.slow
def test_hippocampus(shared):
    published = shared / "reference" / "plans" / "automl__AutoNNUnet__MSD_Dataset004_Hippocampus"
    expected = json.loads((published / "dataset_fingerprint.json").read_text())
    dataset = read_dataset(shared / "data" / "hippocampus")
    n_samples = samples_per_case(len(dataset.cases))
    measured = (measure_case(read_case(case, channels=1)) for case in dataset.cases)
    found = json.loads(pool_cases((draw_intensities(m, n_samples) for m in measured), 1).to_json())
    properties = found.pop("foreground_intensity_properties_per_channel")["0"]
    published_properties = expected.pop("foreground_intensity_properties_per_channel")["0"]
    assert found == expected
    for key in ("mean", "std"):  # nnU-Net sums in float32
        assert properties.pop(key) == pytest.approx(published_properties.pop(key), rel=1e-4), key
    assert properties == published_properties
