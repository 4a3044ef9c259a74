"""Preparing a case and restoring its labels are inverse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from case_samples import CLASSES, configuration_of, preparation_of, raw_case
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax

from segflow.contracts.labels import Labels
from segflow.export import restore_labels, restore_probabilities
from segflow.preprocessing import prepare_case

REGIONS = Labels((("background", 0), ("whole", (1, 2)), ("core", 2)), (1, 2))
SPACINGS = st.tuples(*[st.floats(0.2, 8).map(lambda mm: round(mm, 2))] * 3)


@st.composite
def cases(draw):
    """Labels that lie on non-zero voxels of an image that need not fill its array."""
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    low = [draw(st.integers(0, edge - 1)) for edge in shape]
    inner = tuple(
        slice(start, draw(st.integers(start + 1, edge))) for start, edge in zip(low, shape, strict=True)
    )
    image, labels = np.zeros((1, *shape)), np.zeros(shape, int)
    image[(0, *inner)] = rng.uniform(1, 9, image[(0, *inner)].shape)
    labels[inner] = rng.integers(0, 3, labels[inner].shape)
    return raw_case(image, labels, draw(SPACINGS))


def logits_of(label_map, labels=CLASSES):
    """What a perfect network would say."""
    marks = [
        np.isin(label_map, target)
        for target in (labels.targets if labels.has_regions else (-1, *labels.foreground_values))
    ]
    if not labels.has_regions:
        marks[0] = label_map <= 0
    logits = np.where(np.stack(marks), 10, -10).astype(np.float32)
    logits.setflags(write=False)
    return logits


def restored(raw, configuration, order, labels=CLASSES):
    preparation = preparation_of(configuration, order)
    prepared = prepare_case(raw, preparation, labels)
    scores = restore_probabilities(logits_of(prepared.labels, labels), prepared.record, preparation, labels)
    assert scores.shape[1:] == prepared.record.shape_after_crop
    return restore_labels(scores, prepared.record, preparation, labels)


@given(cases(), st.permutations(range(3)), st.sampled_from([2, 3]), st.sampled_from([CLASSES, REGIONS]))
def test_without_resampling_nothing_is_lost(raw, order, dimensions, labels):
    own = [raw.geometry.spacing_mm[axis] for axis in order]
    found = restored(raw, configuration_of(tuple(own[-dimensions:])), tuple(order), labels)
    np.testing.assert_array_equal(found, raw.labels)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous


@given(cases(), st.permutations(range(3)), SPACINGS, st.sampled_from([2, 3]))
def test_resampling_restores_the_shape(raw, order, target_mm, dimensions):
    own = [raw.geometry.spacing_mm[axis] for axis in order]
    small = [max(mm, 0.2) for mm in own]
    target = [min(mm, limit) for mm, limit in zip(target_mm, small, strict=True)]  # no axis vanishes
    found = restored(raw, configuration_of(tuple(target[-dimensions:])), tuple(order))
    assert found.shape == raw.labels.shape
    assert set(np.unique(found)) <= set(np.unique(raw.labels)) | {0}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_ball_survives_resampling(order):
    grid = np.indices((30, 32, 34)) - np.array([15, 16, 17]).reshape(3, 1, 1, 1)
    labels = (np.sqrt((grid**2).sum(axis=0)) < 10).astype(int)
    raw = raw_case(np.ones((1, 30, 32, 34)), labels, (1.0, 1.1, 0.9))
    found = restored(raw, configuration_of((1.2, 0.8, 1.3)), order)
    overlap = 2 * (found * labels).sum() / (found.sum() + labels.sum())
    assert overlap > 0.97


def test_probabilities_are_resampled_logits(frozen):
    preparation = preparation_of(configuration_of((2.0, 1.0, 1.0)))
    raw = raw_case(np.ones((1, 4, 3, 3)), np.zeros((4, 3, 3)))
    record = prepare_case(raw, preparation, CLASSES).record
    logits = frozen(np.random.default_rng(0).normal(size=(3, 2, 3, 3)).astype(np.float32))
    first, second = logits[:, :1], logits[:, 1:]
    between = [first, first * 0.75 + second * 0.25, first * 0.25 + second * 0.75, second]
    stretched = np.concatenate(between, axis=1).astype(np.float64)
    found = restore_probabilities(logits, record, preparation, CLASSES)
    np.testing.assert_allclose(found, softmax(stretched, axis=0), atol=1e-6)
    found = restore_probabilities(logits[:2], record, preparation, REGIONS)
    np.testing.assert_allclose(found, expit(stretched[:2]), atol=1e-6)


def test_coarse_slices_are_not_mixed():
    preparation = preparation_of(configuration_of((5.0, 1.0, 1.0)))
    raw = raw_case(np.ones((1, 4, 3, 3)), np.zeros((4, 3, 3)), spacing_mm=(2.5, 1.0, 1.0))
    record = prepare_case(raw, preparation, CLASSES).record
    logits = np.zeros((3, 2, 3, 3), np.float32)
    logits[1, 0], logits[2, 1] = 9, 9
    scores = restore_probabilities(logits, record, preparation, CLASSES)
    np.testing.assert_array_equal(scores[:, 1], scores[:, 0])
    np.testing.assert_array_equal(scores.argmax(axis=0)[:, 0, 0], [1, 1, 2, 2])


def test_flat_configuration_takes_the_cases_own_slices():
    preparation = preparation_of(configuration_of((0.5, 0.5)))
    raw = raw_case(np.ones((1, 4, 3, 3)), np.ones((4, 3, 3)), spacing_mm=(9.0, 1.0, 1.0))
    prepared = prepare_case(raw, preparation, CLASSES)
    assert prepared.record.shape == (4, 6, 6)
    scores = restore_probabilities(logits_of(prepared.labels), prepared.record, preparation, CLASSES)
    assert (restore_labels(scores, prepared.record, preparation, CLASSES) == 1).all()


def test_probabilities_are_resampled_as_they_are(frozen):
    preparation = preparation_of(configuration_of((2.0, 1.0, 1.0)))
    record = prepare_case(raw_case(np.ones((1, 4, 1, 1))), preparation, CLASSES).record
    scores = frozen(np.array([[0.5, 0.2], [0.5, 0.0], [0.0, 0.8]], np.float32).reshape(3, 2, 1, 1))
    found = restore_probabilities(scores, record, preparation, CLASSES, as_probabilities=True)
    expected = [[0.5, 0.425, 0.275, 0.2], [0.5, 0.375, 0.125, 0.0], [0.0, 0.2, 0.6, 0.8]]
    np.testing.assert_allclose(found[:, :, 0, 0], expected, atol=1e-6)
    assert (restore_labels(found, record, preparation, CLASSES).ravel() == [0, 0, 2, 2]).all()
