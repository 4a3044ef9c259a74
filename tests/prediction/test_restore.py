"""Preparing a case and restoring its labels are inverse; chunks, threads and stored probabilities change nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from case_samples import CLASSES, REGIONS, SPACINGS, configuration_of, preparation_of, raw_case, raw_cases
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax

from segflow.contracts.errors import PredictionError
from segflow.images.itk import geometry_of, image_of
from segflow.prediction.averaging import averaged_label_map
from segflow.prediction.restore import ScoreStream, assemble, label_map, on_network_grid, probability_slabs
from segflow.preprocessing.prepare import prepare_case


def logits_of(label_map, labels=CLASSES):
    """The output of a perfect network."""
    outputs = labels.targets if labels.has_regions else ((0, -1), *labels.foreground_values)
    logits = np.where([np.isin(label_map, output) for output in outputs], 10, -10).astype(np.float32)
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


def restored(raw, spacing_mm, order=(0, 1, 2), labels=CLASSES):
    """A case prepared, and its own labels restored."""
    preparation = preparation_of(configuration_of(tuple(spacing_mm)), tuple(order))
    prepared = prepare_case(raw, preparation, labels)
    return labelled(logits_of(prepared.labels, labels), prepared.record, preparation, labels)


def case_of(seed, spacing_mm=(1.0, 1.0, 1.0), labels=CLASSES, raw_mm=(1.0, 1.0, 1.0), shape=(9, 8, 7)):
    """Random logits of a case, its record and its preparation."""
    preparation = preparation_of(configuration_of(spacing_mm))
    record = prepare_case(raw_case(np.ones((1, *shape)), spacing_mm=raw_mm), preparation, labels).record
    scores = np.random.default_rng(seed).normal(size=(labels.n_outputs, *record.shape)).astype(np.float32)
    scores.setflags(write=False)
    return scores, record, preparation


def picked(probabilities, labels):
    regions = np.where(probabilities[1] > 0.5, 2, probabilities[0] > 0.5)
    return regions if labels.has_regions else probabilities.argmax(axis=0)


@given(raw_cases(), st.permutations(range(3)), st.sampled_from([2, 3]), st.sampled_from([CLASSES, REGIONS]))
def test_without_resampling_nothing_is_lost(raw, order, dimensions, labels):
    own = [raw.geometry.spacing_mm[axis] for axis in order]
    found = restored(raw, own[-dimensions:], order, labels)
    np.testing.assert_array_equal(found, raw.labels)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous


@given(raw_cases(), st.permutations(range(3)), SPACINGS, st.sampled_from([2, 3]))
def test_resampling_restores_the_shape(raw, order, target_mm, dimensions):
    own = [raw.geometry.spacing_mm[axis] for axis in order]
    target = [min(pair) for pair in zip(target_mm, own, strict=True)]  # no axis vanishes
    found = restored(raw, target[-dimensions:], order)
    assert found.shape == raw.labels.shape
    assert set(np.unique(found)) <= set(np.unique(raw.labels)) | {0}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_ball_survives_resampling(order):
    grid = np.indices((30, 32, 34)) - np.array([15, 16, 17]).reshape(3, 1, 1, 1)
    labels = (np.sqrt((grid**2).sum(axis=0)) < 10).astype(int)
    found = restored(raw_case(np.ones((1, 30, 32, 34)), labels, (1.0, 1.1, 0.9)), (1.2, 0.8, 1.3), order)
    assert 2 * (found * labels).sum() / (found.sum() + labels.sum()) > 0.97


def test_coarse_slices_are_not_mixed():
    _, record, preparation = case_of(0, (5.0, 1.0, 1.0), raw_mm=(2.5, 1.0, 1.0), shape=(4, 3, 3))
    logits = np.zeros((3, 2, 3, 3), np.float32)
    logits[1, 0], logits[2, 1] = 9, 9
    scores = resized(logits, record, preparation)
    np.testing.assert_array_equal(scores[:, 1], scores[:, 0])
    np.testing.assert_array_equal(scores.argmax(axis=0)[:, 0, 0], [1, 1, 2, 2])


def test_a_flat_configuration_keeps_the_slices_of_the_case():
    raw = raw_case(np.ones((1, 4, 3, 3)), np.ones((4, 3, 3)), spacing_mm=(9.0, 1.0, 1.0))
    assert prepare_case(raw, preparation_of(configuration_of((0.5, 0.5))), CLASSES).record.shape == (4, 6, 6)
    np.testing.assert_array_equal(restored(raw, (0.5, 0.5)), raw.labels)


def test_probabilities_are_resampled_as_they_are(frozen):
    _, record, preparation = case_of(0, (2.0, 1.0, 1.0), shape=(4, 1, 1))
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
    scores = frozen(
        np.random.default_rng(0).normal(size=(labels.n_outputs, *record.shape)).astype(np.float32)
    )
    whole = resized(scores, record, preparation, labels)
    assert whole.shape[1:] == record.shape_after_crop == (34, 31, 25)
    np.testing.assert_array_equal(resized(scores, record, preparation, labels, chunk=chunk), whole)
    found = labelled(scores, record, preparation, labels, chunk=chunk, threads=threads)
    expected = picked(whole + 0.5, labels) if labels.has_regions else picked(whole, labels)
    np.testing.assert_array_equal(found, expected.transpose(1, 0, 2))


def test_too_few_planes_are_an_error():
    scores, record, preparation = case_of(0, shape=(4, 3, 3))
    short = replace(stream_of(scores[:, :3], preparation), shape=(4, 3, 3))
    with pytest.raises(ValueError, match="there are 3 planes of scores, but 4 are needed"):
        label_map(short, record, threads=1)
    with pytest.raises(ValueError, match="there are 2 planes of labels, but the case has 4"):
        assemble([np.zeros((2, 3, 3), np.uint8)], record, preparation, CLASSES)


@pytest.mark.parametrize("labels", [CLASSES, REGIONS])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (1.5, 0.8, 1.0)])
def test_labels_do_not_depend_on_whether_probabilities_are_kept(labels, spacing_mm):
    kept, case = [], case_of(0, spacing_mm, labels)
    plain = labelled(*case, labels, threads=2)
    np.testing.assert_array_equal(labelled(*case, labels, threads=2, keep=kept.append), plain)
    probabilities = np.concatenate(kept, axis=1)
    assert probabilities.shape == (labels.n_outputs, 9, 8, 7)
    assert (plain == picked(probabilities, labels)).mean() > 0.999  # rounding decides ties


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


def test_probabilities_that_cannot_be_averaged():
    record, preparation = case_of(0)[1:]
    members = [[np.zeros(shape, np.float32)] for shape in ((3, 2, 4, 4), (3, 2, 4, 5))]
    with pytest.raises(PredictionError, match="differ in shape"):
        averaged_label_map(members, record, preparation, CLASSES)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_the_networks_grid_is_an_image(order):
    """A linear function of the position, on an oblique grid, cropped and resampled, has its values at these places."""
    corner = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    image = sitk.Image(40, 36, 30, sitk.sitkFloat32)
    image.SetSpacing((1.0, 0.7, 2.0))
    image.SetOrigin((-30.0, 12.0, 7.0))
    image.SetDirection(corner.ravel().tolist())
    raw = raw_case(np.zeros((1, 30, 36, 40)), spacing_mm=(2.0, 0.7, 1.0))
    raw = replace(raw, geometry=geometry_of(image), image=np.zeros((1, 30, 36, 40), np.float32))
    inside = raw.image[0, 3:27, 5:36, 0:33]
    inside[...] = field(image)[3:27, 5:36, 0:33]
    mm = tuple((1.3, 1.1, 0.9)[axis] for axis in order)
    preparation = preparation_of(configuration_of(mm), order)
    prepared = prepare_case(raw, preparation, CLASSES)
    record = on_network_grid(prepared.record, preparation)
    found = np.transpose(prepared.image[0], preparation.transpose_backward)
    assert record.geometry.shape == found.shape
    assert record.geometry.spacing_mm == record.geometry.file_spacing_mm[::-1]
    expected = field(image_of(found, record.geometry))
    inner = (slice(8, -8),) * 3  # splines see the edge
    np.testing.assert_allclose(found[inner], expected[inner], atol=2e-3)


def test_the_networks_grid_of_a_flat_image():
    raw = raw_case(np.ones((1, 1, 8, 6)), spacing_mm=(999.0, 1.0, 1.0))
    flat = {
        "file_dimensions": 2,
        "file_spacing_mm": (1.0, 1.0),
        "origin_mm": (3.0, 4.0),
        "direction": (1, 0, 0, 1),
    }
    raw = replace(raw, geometry=raw.geometry.model_copy(update=flat))
    preparation = preparation_of(configuration_of((2.0, 3.0)))
    geometry = on_network_grid(prepare_case(raw, preparation, CLASSES).record, preparation).geometry
    assert geometry.shape == (1, 4, 2)
    assert geometry.file_spacing_mm == (3.0, 2.0)
    assert geometry.origin_mm == (4.0, 4.5)


def field(image):
    """A linear function of the positions of an image's voxels, (z, y, x)."""
    index = np.indices(image.GetSize()).reshape(3, -1)
    direction = np.reshape(image.GetDirection(), (3, 3))
    point = np.array(image.GetOrigin())[:, None] + direction @ (index * np.array(image.GetSpacing())[:, None])
    return (200 + np.array([1.5, -2, 0.7]) @ point).reshape(image.GetSize()).T
