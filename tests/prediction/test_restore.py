"""Preparing a case and restoring its labels are inverse."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from case_samples import CLASSES, configuration_of, preparation_of, raw_case
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax

from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.prediction.averaging import average, averaged_label_map
from segflow.prediction.restore import ScoreStream, assemble, label_map, probability_slabs
from segflow.preprocessing.prepare import prepare_case

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


def stream_of(scores, preparation, labels=CLASSES, *, chunk=None, are_probabilities=False):
    """All planes at once, or a few at a time."""
    chunk = chunk or scores.shape[1]
    return ScoreStream(
        chunks=(scores[:, start : start + chunk] for start in range(0, scores.shape[1], chunk)),
        shape=scores.shape[1:],
        preparation=preparation,
        labels=labels,
        are_probabilities=are_probabilities,
    )


def resized(scores, record, preparation, labels=CLASSES, **how):
    """Scores on the crop of the transposed raw image."""
    stream = stream_of(scores, preparation, labels, are_probabilities=True, **how)
    return np.concatenate(list(probability_slabs(stream, record, threads=1)), axis=1)


def labelled(scores, record, preparation, labels=CLASSES, *, threads=1, keep=None, **how):
    return label_map(stream_of(scores, preparation, labels, **how), record, threads=threads, keep=keep)


def restored(raw, configuration, order, labels=CLASSES):
    preparation = preparation_of(configuration, order)
    prepared = prepare_case(raw, preparation, labels)
    return labelled(logits_of(prepared.labels, labels), prepared.record, preparation, labels)


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


def test_scores_are_resized_linearly(frozen):
    preparation = preparation_of(configuration_of((2.0, 1.0, 1.0)))
    raw = raw_case(np.ones((1, 4, 3, 3)), np.zeros((4, 3, 3)))
    record = prepare_case(raw, preparation, CLASSES).record
    logits = frozen(np.random.default_rng(0).normal(size=(3, 2, 3, 3)).astype(np.float32))
    first, second = logits[:, :1], logits[:, 1:]
    between = [first, first * 0.75 + second * 0.25, first * 0.25 + second * 0.75, second]
    stretched = np.concatenate(between, axis=1).astype(np.float64)
    np.testing.assert_allclose(resized(logits, record, preparation), stretched, atol=1e-6)
    found = resized(logits[:2], record, preparation, REGIONS)
    np.testing.assert_allclose(found, stretched[:2], atol=1e-6)


def test_coarse_slices_are_not_mixed():
    preparation = preparation_of(configuration_of((5.0, 1.0, 1.0)))
    raw = raw_case(np.ones((1, 4, 3, 3)), np.zeros((4, 3, 3)), spacing_mm=(2.5, 1.0, 1.0))
    record = prepare_case(raw, preparation, CLASSES).record
    logits = np.zeros((3, 2, 3, 3), np.float32)
    logits[1, 0], logits[2, 1] = 9, 9
    scores = resized(logits, record, preparation)
    np.testing.assert_array_equal(scores[:, 1], scores[:, 0])
    np.testing.assert_array_equal(scores.argmax(axis=0)[:, 0, 0], [1, 1, 2, 2])


def test_flat_configuration_takes_the_cases_own_slices():
    preparation = preparation_of(configuration_of((0.5, 0.5)))
    raw = raw_case(np.ones((1, 4, 3, 3)), np.ones((4, 3, 3)), spacing_mm=(9.0, 1.0, 1.0))
    prepared = prepare_case(raw, preparation, CLASSES)
    assert prepared.record.shape == (4, 6, 6)
    assert (labelled(logits_of(prepared.labels), prepared.record, preparation) == 1).all()


def test_probabilities_are_resampled_as_they_are(frozen):
    preparation = preparation_of(configuration_of((2.0, 1.0, 1.0)))
    record = prepare_case(raw_case(np.ones((1, 4, 1, 1))), preparation, CLASSES).record
    scores = frozen(np.array([[0.5, 0.2], [0.5, 0.0], [0.0, 0.8]], np.float32).reshape(3, 2, 1, 1))
    found = resized(scores, record, preparation)
    expected = [[0.5, 0.425, 0.275, 0.2], [0.5, 0.375, 0.125, 0.0], [0.0, 0.2, 0.6, 0.8]]
    np.testing.assert_allclose(found[:, :, 0, 0], expected, atol=1e-6)
    found = labelled(scores, record, preparation, are_probabilities=True)
    assert (found.ravel() == [0, 0, 2, 2]).all()


@pytest.mark.parametrize("labels", [CLASSES, REGIONS])
@pytest.mark.parametrize("spacing_mm", [(1.3, 0.7, 0.9), (5.0, 1.0, 0.8)])
@pytest.mark.parametrize(("chunk", "threads"), [(1, 1), (3, 2), (50, 3)])
def test_chunks_and_threads_do_not_matter(labels, spacing_mm, chunk, threads, frozen):
    preparation = preparation_of(configuration_of(spacing_mm), (1, 0, 2))
    raw = raw_case(np.ones((1, 31, 34, 25)), np.zeros((31, 34, 25)), (1.1, 1.0, 1.2))
    record = prepare_case(raw, preparation, labels).record
    scores = np.random.default_rng(0).normal(size=(labels.n_outputs, *record.shape)).astype(np.float32)
    whole = resized(frozen(scores), record, preparation, labels)
    assert whole.shape[1:] == record.shape_after_crop == (34, 31, 25)
    np.testing.assert_array_equal(resized(scores, record, preparation, labels, chunk=chunk), whole)
    found = labelled(scores, record, preparation, labels, chunk=chunk, threads=threads)
    expected = np.zeros(whole.shape[1:])
    for value, score in enumerate(whole if labels.has_regions else whole[1:], start=1):
        expected[score > (0 if labels.has_regions else whole[:value].max(axis=0))] = value
    np.testing.assert_array_equal(found, expected.transpose(1, 0, 2))


def test_too_few_planes_are_an_error():
    preparation = preparation_of(configuration_of((1.0, 1.0, 1.0)))
    record = prepare_case(raw_case(np.ones((1, 4, 3, 3))), preparation, CLASSES).record
    short = replace(stream_of(np.zeros((3, 3, 3, 3), np.float32), preparation), shape=(4, 3, 3))
    with pytest.raises(ValueError, match="3 planes of scores came, but plane 3 is needed"):
        label_map(short, record, threads=1)
    with pytest.raises(ValueError, match="2 planes of labels came, but the case has 4"):
        assemble([np.zeros((2, 3, 3), np.uint8)], record, preparation, CLASSES)


def case_of(seed, spacing_mm=(1.0, 1.0, 1.0), labels=CLASSES):
    """Random logits of the same case, and what they are brought to its grid with."""
    preparation = preparation_of(configuration_of(spacing_mm))
    raw = raw_case(np.ones((1, 9, 8, 7)), np.zeros((9, 8, 7)), (1.0, 1.0, 1.0))
    record = prepare_case(raw, preparation, labels).record
    scores = np.random.default_rng(seed).normal(size=(labels.n_outputs, *record.shape)).astype(np.float32)
    return scores, record, preparation


@pytest.mark.parametrize("labels", [CLASSES, REGIONS])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (1.5, 0.8, 1.0)])
def test_labels_do_not_depend_on_whether_probabilities_are_kept(labels, spacing_mm):
    kept, case = [], case_of(0, spacing_mm, labels)
    plain = labelled(*case, labels, threads=2)
    np.testing.assert_array_equal(labelled(*case, labels, threads=2, keep=kept.append), plain)
    probabilities = np.concatenate(kept, axis=1)
    assert probabilities.shape == (labels.n_outputs, 9, 8, 7)
    assert (plain == picked(probabilities, labels)).mean() > 0.999  # rounding decides ties


def picked(probabilities, labels):
    regions = np.where(probabilities[1] > 0.5, 2, probabilities[0] > 0.5)
    return regions if labels.has_regions else probabilities.argmax(axis=0)


@pytest.mark.parametrize("labels", [CLASSES, REGIONS])
@pytest.mark.parametrize("coarse_mm", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0)])
def test_probabilities_of_several_models_are_averaged_on_the_raw_grid(labels, coarse_mm):
    kept, members, expected = [], [], 0
    for seed, spacing_mm in enumerate([(1.0, 1.0, 1.0), coarse_mm]):
        scores, record, preparation = case_of(seed, spacing_mm, labels)
        members.append(probability_slabs(stream_of(scores, preparation, labels), record, threads=2))
        logits = resized(scores, record, preparation, labels).astype(np.float64)
        expected = expected + (expit(logits) if labels.has_regions else softmax(logits, axis=0)) / 2
    found = averaged_label_map(members, record, preparation, labels, kept.append)
    np.testing.assert_allclose(np.concatenate(kept, axis=1), expected, atol=1e-6)
    np.testing.assert_array_equal(found, picked(expected, labels))
    assert (found != labelled(*case_of(0, labels=labels), labels)).mean() > 0.1


def test_mean_by_hand():
    found = average(np.full((1, 1, 1, 2), values, np.float32) * [1, 2] for values in (0.25, 0.75, 0.5))
    np.testing.assert_array_equal(found, np.array([0.5, 1.0], np.float32).reshape(1, 1, 1, 2))
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("shapes", "message"), [([], "no probabilities"), ([(2, 1, 1, 1), (2, 1, 1, 2)], "differ in shape")]
)
def test_probabilities_that_cannot_be_averaged(shapes, message):
    with pytest.raises(PredictionError, match=message):
        average(np.zeros(shape, np.float32) for shape in shapes)
