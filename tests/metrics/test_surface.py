"""Surface distances against closed forms, against brute force over all pairs of voxels, and against ITK's."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.distance import cdist

from segflow.metrics.surface import surface_distances, surface_metrics

MM = (2.5, 1.0, 0.7)
FACES = [(axis, step) for axis in range(3) for step in (-1, 1)]


def blob(generator, shape, threshold=0.1):
    """Smooth random shapes, some at the edge."""
    noise = ndimage.gaussian_filter(generator.normal(size=shape), 1.5)
    return noise > threshold * noise.std() * 10 * generator.random()


def surface_voxels(mask, ignored):
    """Voxel by voxel, as the definition says."""

    def open_face(place, axis, step):
        beside = list(place)
        beside[axis] += step
        return not 0 <= beside[axis] < mask.shape[axis] or not (mask | ignored)[tuple(beside)]

    thick = [(axis, step) for axis, step in FACES if mask.shape[axis] > 1]
    places = zip(*np.nonzero(mask & ~ignored), strict=True)
    found = [place for place in places if any(open_face(place, *face) for face in thick)]
    return np.array(found, dtype=float).reshape(-1, 3)


def brute_force(prediction, reference, ignored):
    scale = np.array([mm if size > 1 else 0 for mm, size in zip(MM, prediction.shape, strict=True)])
    pairs = cdist(*(surface_voxels(mask, ignored) * scale for mask in (prediction, reference)))
    return pairs.min(axis=1), pairs.min(axis=0)


def check(distances, ours, theirs, tolerances, **precision):
    """The metrics, from the distances of both surfaces."""
    both = np.concatenate([ours, theirs])
    for tolerance in tolerances:
        expected = {
            "hd95": max(np.percentile(ours, 95), np.percentile(theirs, 95)),
            "assd": both.mean(),
            "nsd": (both <= tolerance + 1e-9).mean(),
        }
        assert surface_metrics(distances, expected, tolerance) == pytest.approx(expected, **precision)


@pytest.mark.parametrize("with_ignored", [False, True])
@pytest.mark.parametrize("shape", [(9, 14, 17), (1, 25, 20), (12, 1, 15)], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_like_brute_force(seed, shape, with_ignored, frozen):
    generator = np.random.default_rng(seed)
    prediction, reference = (frozen(blob(generator, shape)) for _ in range(2))
    ignored = frozen(blob(generator, shape, 0.3) if with_ignored else np.zeros(shape, dtype=bool))
    found = surface_distances(prediction, reference, MM, ignored if with_ignored else None)
    ours, theirs = brute_force(prediction, reference, ignored)
    assert len(ours) >= 5
    np.testing.assert_allclose(np.sort(found.from_prediction), np.sort(ours), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.sort(found.from_reference), np.sort(theirs), rtol=1e-12, atol=1e-12)
    check(found, ours, theirs, (0, 0.7, 1, 3))


def by_itk(mask, other):
    """Distance of each voxel of a contour to the other contour, by ITK's filters."""
    images = [sitk.GetImageFromArray(array.astype(np.uint8)) for array in (mask, other)]
    for image in images:
        image.SetSpacing(MM[::-1])
    here, there = (sitk.LabelContour(image, fullyConnected=False) for image in images)
    away = sitk.SignedMaurerDistanceMap(
        there, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    distance = np.abs(sitk.GetArrayFromImage(away))[sitk.GetArrayFromImage(here) > 0]
    return distance.astype(np.float64)


@pytest.mark.parametrize("seed", range(3))
def test_like_itk(seed):
    generator = np.random.default_rng(seed)
    masks = [np.pad(blob(generator, (9, 20, 21)), 1) for _ in range(2)]  # ITK has no contour at the edge
    ours, theirs = by_itk(*masks), by_itk(*masks[::-1])
    assert len(ours) > 100
    check(surface_distances(*masks, MM), ours, theirs, (1.1,), rel=1e-5)


def cube(start, stop):
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[start:stop, 5:10, 5:10] = True
    return mask


FULL = np.ones((1, 1, 1), dtype=bool)


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        (cube(4, 9), cube(4, 9), (0, 0, 1)),
        (cube(4, 9), cube(0, 0), (nan, nan, 0)),
        (cube(0, 0), cube(4, 9), (nan, nan, 0)),
        (cube(0, 0), cube(0, 0), (nan, nan, nan)),
        (FULL, FULL, (0, 0, 1)),
    ],
    ids=["equal", "no reference", "no prediction", "both are empty", "an image of one voxel"],
)
def test_equal_and_empty_masks(prediction, reference, expected):
    found = surface_metrics(surface_distances(prediction, reference, MM), ("hd95", "assd", "nsd"), 0)
    assert tuple(found.values()) == pytest.approx(expected, nan_ok=True)


def test_a_shift_in_closed_form():
    found = surface_distances(cube(4, 9), cube(6, 11), MM)
    assert found.from_prediction.max() == pytest.approx(2 * MM[0])
    assert surface_metrics(found, ("hd95", "nsd"), 2 * MM[0]) == pytest.approx({"hd95": 2 * MM[0], "nsd": 1})


def test_the_image_s_edge_is_a_surface():
    full = np.ones((4, 5, 6), dtype=bool)
    assert len(surface_distances(full, full, MM).from_prediction) == full.size - 2 * 3 * 4


def test_ignored_voxels_make_no_surface():
    """The reference ends where annotation does, the prediction goes on: neither has a surface there."""
    reference, prediction, ignored = np.zeros((3, 1, 1, 20), dtype=bool)
    reference[..., 2:10], prediction[..., 2:15], ignored[..., 10:] = True, True, True
    found = surface_distances(prediction, reference, MM, ignored)
    assert (found.from_prediction, found.from_reference) == ([0], [0])
