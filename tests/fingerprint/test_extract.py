"""The fingerprint: tiny cases by hand, and a real data set's published one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from segflow.contracts.case import Geometry, RawCase
from segflow.contracts.errors import DatasetError
from segflow.fingerprint import extract
from segflow.fingerprint.extract import draw_intensities, measure_case, pool_cases, samples_per_case
from segflow.images.dataset import read_dataset
from segflow.images.cases import read_case


def raw_case(image, labels, spacing_mm=(3.0, 2.0, 1.0)):
    image = np.array(image, np.float32)
    image.setflags(write=False)
    geometry = Geometry(
        shape=image.shape[1:],
        spacing_mm=spacing_mm,
        file_dimensions=3,
        file_spacing_mm=spacing_mm[::-1],
        origin_mm=(0, 0, 0),
        direction=(1, 0, 0, 0, 1, 0, 0, 0, 1),
    )
    return RawCase("one", image, labels if labels is None else np.array(labels, np.int16), geometry)


def described(raw, n_samples):
    return draw_intensities(measure_case(raw), n_samples)


def all_draws(drawn):
    """Every value as often as it was drawn, ascending."""
    return np.repeat(drawn.values, drawn.counts)


def line(values, labels):
    return raw_case([[[values]]], [[labels]])


def test_crop_spacing_and_relative_size():
    image = np.zeros((1, 4, 5, 6), np.float32)
    image[0, 1:3, 2:5, 0:5] = 7
    part = described(raw_case(image, np.ones((4, 5, 6))), 10)
    assert part.shape_after_crop == (2, 3, 5)
    assert part.spacing_mm == (3.0, 2.0, 1.0)
    assert part.relative_size == 30 / 120
    np.testing.assert_array_equal(all_draws(part.intensities[0]), [7] * 10)


def test_intensities_are_drawn_as_the_method_says():
    rng = np.random.default_rng(0)
    image, labels = rng.normal(size=(2, 4, 5, 6)), rng.integers(0, 3, (4, 5, 6))
    part = described(raw_case(image, labels), 1000)
    random = np.random.RandomState(1234)  # one generator for both channels, in turn
    for channel, drawn in zip(image.astype(np.float32), part.intensities, strict=True):
        expected = random.choice(channel[labels > 0], 1000, replace=True)
        np.testing.assert_array_equal(all_draws(drawn), np.sort(expected))


def test_draws_do_not_depend_on_how_many_are_made_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    measured = measure_case(raw_case(rng.normal(size=(2, 3, 3, 3)), np.ones((3, 3, 3))))
    whole = draw_intensities(measured, 1000)
    monkeypatch.setattr(extract, "_DRAWN_AT_ONCE", 7)
    for one, other in zip(whole.intensities, draw_intensities(measured, 1000).intensities, strict=True):
        np.testing.assert_array_equal(all_draws(one), all_draws(other))


def test_ignore_counts_as_foreground_and_outside_does_not():
    part = described(line([1, 2, 3, 4], [-1, 0, 1, 9]), 200)
    assert set(part.intensities[0].values) == {3, 4}


def test_foreground_outside_the_crop_is_not_seen():
    part = described(line([0, 0, 5, 6], [1, 1, 1, 0]), 100)
    assert set(part.intensities[0].values) == {5}


def test_statistics_by_hand():
    parts = [described(line([2.0, 2.0], [1, 0]), 2), described(line([4.0, 6.0, 1.0], [1, 0, 0]), 2)]
    found = pool_cases(parts, 1)
    properties = found.foreground_intensity_properties_per_channel["0"]
    assert found.shapes_after_crop == ((1, 1, 2), (1, 1, 3))
    assert found.spacings == ((3.0, 2.0, 1.0),) * 2
    assert (properties.min, properties.max, properties.mean, properties.median) == (2, 4, 3, 3)
    assert properties.std == 1  # of the population
    assert properties.percentile_00_5 == pytest.approx(2)  # of 2, 2, 4, 4: at position 0.015
    assert properties.percentile_99_5 == pytest.approx(4)


def test_relative_size_is_the_median_of_the_cases():
    shares = ([1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0])
    parts = [described(line(values, [1, 0, 0, 0]), 1) for values in shares]
    assert pool_cases(parts, 1).median_relative_size_after_cropping == 0.5


def test_a_case_without_foreground_adds_nothing():
    parts = [described(line([5, 5], [0, 0]), 9), described(line([7, 7], [1, 1]), 9)]
    assert parts[0].intensities[0].total == 0
    properties = pool_cases(parts, 1).foreground_intensity_properties_per_channel["0"]
    assert (properties.min, properties.max) == (7, 7)


def test_no_foreground_at_all():
    with pytest.raises(DatasetError, match="no case has any foreground voxel"):
        pool_cases([described(line([5, 5], [0, 0]), 9)], 1)


def test_a_case_without_labels():
    with pytest.raises(DatasetError, match="case one: no label file"):
        measure_case(raw_case([[[[1]]]], None))


def test_an_empty_image_keeps_its_extent():
    part = described(line([0, 0, 0], [0, 1, 0]), 3)
    assert part.shape_after_crop == (1, 1, 3)
    assert part.relative_size == 1


def test_hundred_million_values_are_shared_out():
    assert samples_per_case(260) == 384_615


@pytest.mark.data
@pytest.mark.slow
def test_hippocampus(shared):
    published = shared / "reference" / "plans" / "automl__AutoNNUnet__MSD_Dataset004_Hippocampus"
    expected = json.loads((published / "dataset_fingerprint.json").read_text())
    dataset = read_dataset(shared / "data" / "hippocampus")
    n_samples = samples_per_case(len(dataset.cases))
    parts = (described(read_case(case, channels=1), n_samples) for case in dataset.cases)
    found = pool_cases(parts, 1).model_dump()
    properties = found.pop("foreground_intensity_properties_per_channel")["0"]
    expected_properties = expected.pop("foreground_intensity_properties_per_channel")["0"]
    assert [list(shape) for shape in found["shapes_after_crop"]] == expected["shapes_after_crop"]
    assert [list(spacing) for spacing in found["spacings"]] == expected["spacings"]
    assert found["median_relative_size_after_cropping"] == expected["median_relative_size_after_cropping"]
    for key in ("min", "max", "median", "percentile_00_5", "percentile_99_5"):
        assert properties[key] == expected_properties[key], key
    for key in ("mean", "std"):  # the peer sums in float32
        assert properties[key] == pytest.approx(expected_properties[key], rel=1e-4), key
