"""Surface distances against closed forms, against brute force over all pairs of voxels, and against ITK's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.distance import cdist

from segflow.metrics.surface import assd_mm, hd95_mm, nsd, surface_distances

MM = (2.5, 1.0, 0.7)
FACES = [(axis, step) for axis in range(3) for step in (-1, 1)]


def blob(generator, shape, threshold=0.1):
    """Smooth random shapes, some at the edge."""
    noise = ndimage.gaussian_filter(generator.normal(size=shape), 1.5)
    return noise > threshold * noise.std() * 10 * generator.random()


def surface_voxels(mask, ignored):
    """Voxel by voxel, as the definition says."""
    found = []
    for place in zip(*np.nonzero(mask & ~ignored), strict=True):
        for axis, step in FACES:
            if mask.shape[axis] == 1:
                continue
            beside = list(place)
            beside[axis] += step
            inside = 0 <= beside[axis] < mask.shape[axis]
            if not inside or not (mask | ignored)[tuple(beside)]:
                found.append(place)
                break
    return np.array(found, dtype=float).reshape(-1, 3)


def brute_force(prediction, reference, spacing_mm, ignored):
    scale = np.array([mm if size > 1 else 0 for mm, size in zip(spacing_mm, prediction.shape, strict=True)])
    ours, theirs = (surface_voxels(mask, ignored) * scale for mask in (prediction, reference))
    pairs = cdist(ours, theirs)
    return pairs.min(axis=1), pairs.min(axis=0)


@pytest.mark.parametrize("with_ignored", [False, True])
@pytest.mark.parametrize("shape", [(9, 14, 17), (1, 25, 20), (12, 1, 15)], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_like_brute_force(seed, shape, with_ignored, frozen):
    generator = np.random.default_rng(seed)
    prediction, reference = (frozen(blob(generator, shape)) for _ in range(2))
    ignored = frozen(blob(generator, shape, 0.3) if with_ignored else np.zeros(shape, dtype=bool))
    found = surface_distances(prediction, reference, MM, ignored if with_ignored else None)
    ours, theirs = brute_force(prediction, reference, MM, ignored)
    assert len(ours) >= 5
    np.testing.assert_allclose(np.sort(found.from_prediction), np.sort(ours), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.sort(found.from_reference), np.sort(theirs), rtol=1e-12, atol=1e-12)
    assert hd95_mm(found) == pytest.approx(max(np.percentile(ours, 95), np.percentile(theirs, 95)))
    both = np.concatenate([ours, theirs])
    assert assd_mm(found) == pytest.approx(both.mean())
    for tolerance in (0, 0.7, 1, 3):
        assert nsd(found, tolerance) == pytest.approx((both <= tolerance + 1e-9).mean())


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
    found = surface_distances(*masks, MM)
    theirs = by_itk(*masks), by_itk(*masks[::-1])
    assert len(theirs[0]) > 100
    assert hd95_mm(found) == pytest.approx(max(np.percentile(one, 95) for one in theirs), rel=1e-5)
    assert assd_mm(found) == pytest.approx(np.concatenate(theirs).mean(), rel=1e-5)
    assert nsd(found, 1.1) == pytest.approx((np.concatenate(theirs) <= 1.1).mean())


def cube(start, stop, shape=(20, 20, 20)):
    mask = np.zeros(shape, dtype=bool)
    mask[start:stop, 5:10, 5:10] = True
    return mask


def test_a_shift_in_closed_form():
    found = surface_distances(cube(4, 9), cube(6, 11), MM)
    assert found.from_prediction.max() == pytest.approx(2 * MM[0])
    assert hd95_mm(found) == pytest.approx(2 * MM[0])
    assert nsd(found, 2 * MM[0]) == 1


EMPTY = np.zeros((20, 20, 20), dtype=bool)
FULL = np.ones((1, 1, 1), dtype=bool)


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        (cube(4, 9), cube(4, 9), (0, 0, 1)),
        (cube(4, 9), EMPTY, (math.nan, math.nan, 0)),
        (EMPTY, cube(4, 9), (math.nan, math.nan, 0)),
        (EMPTY, EMPTY, (math.nan,) * 3),
        (FULL, FULL, (0, 0, 1)),
    ],
    ids=["equal", "one is empty", "the other is empty", "both are empty", "an image of one voxel"],
)
def test_equal_and_empty_masks(prediction, reference, expected):
    found = surface_distances(prediction, reference, MM)
    values = (hd95_mm(found), assd_mm(found), nsd(found, 0))
    assert values == pytest.approx(expected, nan_ok=True)


def test_the_image_s_edge_is_a_surface():
    full = np.ones((4, 5, 6), dtype=bool)
    found = surface_distances(full, full, MM)
    assert len(found.from_prediction) == full.size - 2 * 3 * 4


def test_what_is_ignored_makes_no_surface():
    """The reference ends where annotation does, the prediction goes on: no surface of either is there."""
    shape = (1, 1, 20)
    reference, prediction, ignored = (np.zeros(shape, dtype=bool) for _ in range(3))
    reference[..., 2:10], prediction[..., 2:15], ignored[..., 10:] = True, True, True
    found = surface_distances(prediction, reference, MM, ignored)
    np.testing.assert_array_equal(found.from_prediction, [0])
    np.testing.assert_array_equal(found.from_reference, [0])
