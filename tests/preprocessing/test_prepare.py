"""A whole case: order of the steps, shapes, and what is outside the mask."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from case_samples import CLASSES, INTENSITIES, configuration_of, preparation_of, raw_case
from skimage.transform import resize

from segflow.contracts.errors import DatasetError, MemoryShortageError
from segflow.contracts.labels import Labels
from segflow.preprocessing.prepare import prepare_case, prepare_labels, target_grid
from segflow.processes import memory


def body(shape=(12, 10, 9), margin=2, seed=0):
    """An image that is zero at the border."""
    image = np.zeros((1, *shape), np.float32)
    inner = (0, *(slice(margin, edge - margin) for edge in shape))
    image[inner] = np.random.default_rng(seed).uniform(1, 100, image[inner].shape)
    return image


def prepared(raw, configuration, order=(0, 1, 2), labels=CLASSES):
    return prepare_case(raw, preparation_of(configuration, order), labels)


def zscore(values, mask=True):
    inside = np.broadcast_to(mask, values.shape)
    return np.where(inside, (values - values[inside].mean()) / values[inside].std(), values)


def test_nothing_to_do():
    image = np.random.default_rng(0).uniform(1, 2, (2, 4, 5, 6))
    found = prepared(raw_case(image), configuration_of(normalization=("none", "none")))
    np.testing.assert_array_equal(found.image, image.astype(np.float32))
    assert found.image.flags.c_contiguous
    assert found.labels is None
    assert found.locations == {}
    assert found.record.crop_box == ((0, 4), (0, 5), (0, 6))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_crop_and_transposition(order):
    image = np.zeros((1, 6, 7, 8), np.float32)
    image[0, 1:4, 2:5, 3:8] = np.arange(1, 46).reshape(3, 3, 5)
    raw = raw_case(image, np.ones((6, 7, 8)), spacing_mm=(1.0, 2.0, 3.0))
    configuration = configuration_of(tuple((1.0, 2.0, 3.0)[axis] for axis in order))
    found = prepared(raw, configuration, order)
    np.testing.assert_array_equal(found.image[0], image[0, 1:4, 2:5, 3:8].transpose(order))
    record = found.record
    assert record.shape_before_crop == tuple((6, 7, 8)[axis] for axis in order)
    assert record.crop_box == tuple(((1, 4), (2, 5), (3, 8))[axis] for axis in order)
    assert record.shape_after_crop == record.shape == found.image.shape[1:]
    assert record.spacing_mm == tuple((1.0, 2.0, 3.0)[axis] for axis in order)
    assert record.geometry == raw.geometry


def test_voxels_outside_the_mask_are_marked():
    image = np.zeros((1, 1, 3, 3), np.float32)
    image[0, 0, 1], image[0, 0, :, 1] = 1, 1  # a cross; its box is the whole
    labels = np.array([[[0, 0, 0], [0, 2, 1], [1, 0, 0]]])
    found = prepared(raw_case(image, labels), configuration_of())
    np.testing.assert_array_equal(found.labels, [[[-1, 0, -1], [0, 2, 1], [1, 0, -1]]])
    assert found.labels.dtype == np.int8


@pytest.mark.parametrize("labelled", [True, False])
def test_labelled_voxels_count_as_inside(labelled):
    """Also where the image is zero: z-scores inside the mask take them in."""
    image = np.array([[[[5, 0, 0, 4, 8, 1]]]], np.float32)
    labels = [[[0, 1, 0, 2, 0, 0]]] if labelled else None
    configuration = configuration_of(normalization=("zscore",), masked=(True,))
    found = prepared(raw_case(image, labels), configuration).image.ravel()
    inside = [True, labelled, False, True, True, True]
    np.testing.assert_allclose(found, zscore(image.ravel(), inside), rtol=1e-6)


def test_many_labels_need_sixteen_bits():
    labels = Labels(tuple((str(value), value) for value in range(201)))
    image, label_map = np.ones((1, 1, 1, 2)), [[[0, 200]]]
    found = prepared(raw_case(image, label_map), configuration_of(), labels=labels)
    assert found.labels.dtype == np.int16
    np.testing.assert_array_equal(found.labels, label_map)


def test_channels_are_independent():
    image = np.arange(1, 25, dtype=np.float32).reshape(3, 2, 2, 2)
    found = prepared(raw_case(image), configuration_of(normalization=("none", "zscore", "ct"))).image
    np.testing.assert_array_equal(found[0], image[0])
    np.testing.assert_allclose(found[1], zscore(image[1]), rtol=1e-6)
    np.testing.assert_allclose(found[2], (image[2] - INTENSITIES.mean) / INTENSITIES.std, rtol=1e-6)


def test_normalised_before_resampled():
    image = body(margin=0)
    found = prepared(raw_case(image), configuration_of((1.5, 0.8, 1.0), ("zscore",)))
    scaled = zscore(image[0].astype(np.float64))
    expected = resize(scaled, (8, 12, 9), order=3, mode="edge", clip=True, anti_aliasing=False)
    assert found.image.dtype == np.float32
    np.testing.assert_allclose(found.image[0], expected, atol=2e-5)
    assert abs(float(found.image.mean())) > 1e-6  # normalised after it, the mean would be 0


def test_values_that_a_normalisation_does_not_take_are_those_of_a_case():
    with pytest.raises(DatasetError, match=r"case .*: a channel that is normalised as rgb_to_0_1 has values"):
        prepared(raw_case(300 * body()), configuration_of(normalization=("rgb_0_1",)))


def test_cropped_before_normalised():
    image = body()
    found = prepared(raw_case(image), configuration_of(normalization=("zscore",)))
    np.testing.assert_allclose(found.image[0], zscore(image[0, 2:-2, 2:-2, 2:-2]), atol=1e-5)


def test_masked_zscore_of_the_crop_leaves_the_outside():
    image = np.zeros((1, 6, 6, 6), np.float32)
    image[0, 1:5, 2:4, 2:4] = np.random.default_rng(0).uniform(50, 60, (4, 2, 2))
    image[0, 2:4, 1:5, 2:4] = np.random.default_rng(1).uniform(50, 60, (2, 4, 2))
    found = prepared(raw_case(image), configuration_of(normalization=("zscore",), masked=(True,)))
    cropped = image[0, 1:5, 1:5, 2:4]
    np.testing.assert_allclose(found.image[0], zscore(cropped, cropped > 0), atol=1e-4)
    assert (found.image[0][cropped == 0] == 0).all()


def test_anisotropic_slices_are_not_mixed():
    image = np.random.default_rng(0).uniform(1, 2, (1, 4, 8, 8)).astype(np.float32)
    image[0, 2:] += 100
    labels = np.zeros((4, 8, 8))
    labels[2:] = 1
    raw = raw_case(image, labels, spacing_mm=(8.0, 1.0, 1.0))
    found = prepared(raw, configuration_of((4.0, 2.0, 2.0)))
    assert found.image.shape == (1, 8, 4, 4)
    assert found.image[0, :4].max() < 3
    assert found.image[0, 4:].min() > 100
    np.testing.assert_array_equal(found.labels, np.repeat([0, 0, 0, 0, 1, 1, 1, 1], 16).reshape(8, 4, 4))


def test_anisotropic_slices_are_interpolated_if_the_plan_says_so():
    image = np.random.default_rng(0).uniform(1, 2, (1, 4, 8, 8)).astype(np.float32)
    image[0, 2:] += 100
    raw = raw_case(image, spacing_mm=(8.0, 1.0, 1.0))
    found = prepared(raw, configuration_of((4.0, 2.0, 2.0)).model_copy(update={"separate_z": False}))
    expected = resize(image[0].astype(np.float64), (8, 4, 4), order=3, mode="edge", anti_aliasing=False)
    np.testing.assert_allclose(found.image[0], expected, atol=1e-3)
    assert 10 < found.image[0, 3].mean() < 90


@pytest.mark.parametrize("resample_first", [False, True])
def test_labels_and_previous_stage_by_the_nearest_voxel(resample_first):
    labels = np.random.default_rng(0).integers(0, 3, (4, 16, 16))
    raw = raw_case(np.ones((1, 4, 16, 16)), labels, spacing_mm=(1.0, 1.0, 1.0))
    changes = {"label_interpolation": "nearest", "resample_first": resample_first}
    configuration = configuration_of((1.0, 1.5, 0.7)).model_copy(update=changes)
    found = prepared(raw, configuration)
    options = {"order": 0, "mode": "edge", "anti_aliasing": False, "preserve_range": True}
    expected = resize(labels.astype(float), (4, 11, 23), **options)
    np.testing.assert_array_equal(found.labels, expected)
    previous = prepare_labels(labels.astype(np.uint8), found.record, preparation_of(configuration))
    np.testing.assert_array_equal(previous, expected)
    linear = prepared(raw, configuration.model_copy(update={"label_interpolation": "linear"}))
    assert (linear.labels != found.labels).any()


def test_a_2d_configuration_keeps_the_first_axis():
    volume = preparation_of(configuration_of((2.0, 1.0, 0.5)))
    assert target_grid((10, 10, 10), (1.0, 1.0, 1.0), volume) == ((5, 10, 20), (2.0, 1.0, 0.5))
    slices = configuration_of((1.0, 0.5))
    found = target_grid((10, 10, 10), (7.0, 1.0, 1.0), preparation_of(slices))
    assert found == ((10, 10, 20), (7.0, 1.0, 0.5))
    found = prepared(raw_case(np.ones((1, 6, 8, 8)), np.ones((6, 8, 8)), (2.5, 1.0, 1.0)), slices)
    assert found.image.shape[1:] == found.labels.shape == (6, 8, 16)


def test_locations_are_those_of_the_prepared_labels():
    labels = np.zeros((6, 6, 6))
    labels[:3] = 1
    found = prepared(raw_case(np.ones((1, 6, 6, 6)), labels), configuration_of((0.5, 0.5, 0.5)))
    assert len(found.locations[1]) == (found.labels == 1).sum() == 6 * 12 * 12
    assert (found.labels[tuple(found.locations[1].T)] == 1).all()
    assert found.locations[2].shape == (0, 3)


@pytest.mark.parametrize("spacing_mm", [(1.0, 2.0, 3.0), (0.7, 1.0, 1.5), (5.0, 0.5, 0.6)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_previous_stage_is_resampled_like_labels(spacing_mm, order, frozen):
    label_map = np.random.default_rng(0).integers(0, 3, (12, 10, 9)).astype(np.uint8)
    label_map[:2], label_map[:, :2], label_map[:, :, :2] = 0, 0, 0
    raw = raw_case(body(), label_map, spacing_mm=(1.0, 2.0, 3.0))
    configuration = configuration_of(tuple(spacing_mm[axis] for axis in order))
    found = prepared(raw, configuration, order)
    again = prepare_labels(frozen(label_map), found.record, preparation_of(configuration, order))
    assert again.dtype == np.int8
    np.testing.assert_array_equal(again, np.maximum(found.labels, 0))


# Resampled first, then normalised.


def prepared_after_resampling(raw, configuration):
    return prepared(raw, configuration.model_copy(update={"resample_first": True}))


@pytest.mark.parametrize("normalization", ["zscore", "ct", "none", "rescale_0_1"])
def test_resampled_first_is_like_a_case_that_was_resampled_before(normalization):
    raw = raw_case(np.random.default_rng(0).uniform(1, 100, (1, 10, 9, 8)))
    fine = (0.5, 0.75, 1.0)
    configuration = configuration_of(fine, (normalization,))
    resampled = prepared(raw, configuration_of(fine)).image
    expected = prepared(raw_case(resampled, None, fine), configuration).image
    found = prepared_after_resampling(raw, configuration).image
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    if normalization == "zscore":
        assert (found.mean(), found.std()) == pytest.approx((0, 1), abs=1e-5)
    same = normalization in {"none", "rescale_0_1"}  # resampling keeps the lowest and the highest value
    assert np.allclose(prepared(raw, configuration).image, found, atol=1e-4) == same


@pytest.mark.parametrize("labelled", [True, False])
def test_resampled_first_the_mask_is_resampled_too(labelled):
    image = body((14, 12, 12), margin=0, seed=1)
    image[0, :5, :6] = 0  # a corner that the crop keeps
    labels = np.random.default_rng(1).integers(0, 2, image.shape[1:]) * (image[0] > 0) if labelled else None
    configuration = configuration_of((0.7, 0.7, 0.7), ("zscore",), masked=(True,))
    found = prepared_after_resampling(raw_case(image, labels), configuration)
    inside = found.image[0] != 0
    assert found.image[0][inside].mean() == pytest.approx(0, abs=1e-5)
    assert found.image[0][inside].std() == pytest.approx(1, abs=1e-5)
    if labelled:
        np.testing.assert_array_equal(inside, found.labels >= 0)
    corner = tuple(slice(round(edge / 0.7)) for edge in (4, 5, 12))
    assert not inside[corner].any()
    assert 0.75 < inside.mean() < 0.88  # 1 - 5 * 6 / (14 * 12) = 0.82


def test_resampled_first_training_and_prediction_agree():
    """With labels on non-zero voxels only, they do not matter to the image."""
    image = body((9, 11, 10), margin=0)
    image[0, :3, :4] = 0
    configuration = configuration_of((0.6, 1.3, 1.0), ("zscore",), masked=(True,))
    images = [
        prepared_after_resampling(raw_case(image, labels), configuration).image
        for labels in (None, np.zeros(image.shape[1:]))
    ]
    np.testing.assert_array_equal(*images)


@pytest.mark.parametrize(("spacing_mm", "copies"), [((400, 400, 400), 1), ((400, 20, 2000), 50)])
def test_an_image_that_would_grow_beyond_memory_is_refused_before_it_does(spacing_mm, copies, monkeypatch):
    """A header that is wrong makes 20 cubic centimetres a building."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 5 * 10**9)
    raw = raw_case(np.ones((1, 3, 10, 10)), spacing_mm=spacing_mm)
    preparation = preparation_of(configuration_of((3.0, 2.0, 2.0)))
    words = f"case one: its voxels of {spacing_mm[0]} x {spacing_mm[1]} x {spacing_mm[2]} mm become 400 x "
    with pytest.raises(
        MemoryShortageError, match=rf"^{words}.*of 3 x 2 x 2 mm, which need .*, and 5\.0 GB are"
    ):
        prepare_case(raw, preparation, CLASSES, copies=copies)
