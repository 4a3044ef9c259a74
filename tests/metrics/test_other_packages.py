"""Surfaces, lesions and calibration against panoptica 2.1.7, surface-distance 0.1 and scikit-learn 1.9.1.

Golden values are theirs; where a package is installed, it is asked again.
"""

from __future__ import annotations

from math import nan

import numpy as np
import pytest
from scipy import ndimage

from segflow.contracts.labels import Labels
from segflow.metrics.calibration import absent_counts, calibration_error, count_calibration
from segflow.metrics.lesions import lesion_f1, match_lesions
from segflow.metrics.surface import surface_distances, surface_metrics

MM = (2.5, 1.0, 0.7)
TOLERANCE_MM = 1.5
#: By seed: HD95, ASSD and NSD of panoptica's distances (its means over both surfaces weigh voxels otherwise); found,
#: missed and falsely predicted components and their F1 of panoptica; HD95 and NSD of surface-distance, on elements of
#: surfaces.
GOLDEN = {
    0: ((3.277193921634788, 0.7837884646713501, 0.8340845675037561), (16, 12, 9), 0.6037735849056604, (2.9, 0.87567)),
    1: ((6.955405284292991, 1.1070383812953308, 0.7948068397720076), (17, 6, 9), 0.6938775510204082, (6.3, 0.82123)),
    2: ((4.768647607026545, 0.9534193622870192, 0.8157253149126371), (11, 7, 13), 0.5238095238095238, (4.434, 0.86313)),
    3: ((3.4409301068170506, 0.7602958767114159, 0.850132860938884), (13, 10, 9), 0.5777777777777777, (3.0, 0.89526)),
}  # fmt: skip
NAMES = ("hd95", "assd", "nsd")


def scene(seed):
    """Prediction and reference of some twenty blobs, which touch, merge, split and miss each other."""
    generator = np.random.default_rng(seed)
    one, other = (ndimage.gaussian_filter(generator.normal(size=(20, 36, 40)), 2.0) for _ in range(2))
    smooth = one / one.std()
    return smooth + 0.6 * other / other.std() > 1.4, smooth > 1.3


@pytest.mark.parametrize("seed", GOLDEN)
def test_golden_values(seed):
    distances, counts, f1, elements = GOLDEN[seed]
    prediction, reference = scene(seed)
    found = surface_metrics(surface_distances(prediction, reference, MM), NAMES, TOLERANCE_MM)
    assert tuple(found.values()) == pytest.approx(distances, rel=1e-9)
    assert (found["hd95"], found["nsd"]) == pytest.approx(elements, rel=0.15)
    lesions = match_lesions(prediction, reference)
    assert lesions.counts == counts
    assert lesion_f1(*lesions.counts) == pytest.approx(f1)


@pytest.mark.parametrize("seed", GOLDEN)
def test_panoptica(seed):
    panoptica = pytest.importorskip("panoptica", reason="panoptica is not installed")
    prediction, reference = scene(seed)
    evaluator = panoptica.Panoptica_Evaluator(
        expected_input=panoptica.InputType.SEMANTIC,
        instance_approximator=panoptica.ConnectedComponentsInstanceApproximator(),
        instance_matcher=panoptica.NaiveThresholdMatching(matching_threshold=0.1),
    )
    found = evaluator.evaluate(*(mask.astype(np.uint8) for mask in (prediction, reference)))
    (result,) = found.values() if isinstance(found, dict) else (found,)
    assert ((result.tp, result.fn, result.fp), result.rq) == (GOLDEN[seed][1], pytest.approx(GOLDEN[seed][2]))
    from_border = getattr(panoptica.metrics.assd, "__surface_distances")
    ours, theirs = from_border(reference, prediction, MM), from_border(prediction, reference, MM)
    both = np.concatenate([ours, theirs])
    expected = (
        max(np.percentile(one, 95) for one in (ours, theirs)),
        both.mean(),
        (both <= TOLERANCE_MM).mean(),
    )
    assert expected == pytest.approx(GOLDEN[seed][0], rel=1e-9)


@pytest.mark.parametrize("seed", GOLDEN)
def test_surface_distance(seed):
    package = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    found = package.compute_surface_distances(*reversed(scene(seed)), MM)
    values = (
        package.compute_robust_hausdorff(found, 95),
        package.compute_surface_dice_at_tolerance(found, 1.5),
    )
    assert values == pytest.approx(GOLDEN[seed][3], rel=1e-4)


LABELS = Labels((("background", 0), ("organ", 1), ("lesion", 2), ("ignore", 3)))


@pytest.fixture
def forecast(frozen):
    """Probabilities as they are stored, many of them 0 and 1, and a reference of which some is ignored."""
    generator = np.random.default_rng(0)
    drawn = np.moveaxis(generator.dirichlet((1, 0.2, 0.3), (6, 15, 20)), -1, 0)
    probabilities = np.divide(np.rint(drawn * 255), 255, dtype=np.float32)
    return frozen(probabilities), frozen(generator.choice(4, (6, 15, 20), p=(0.5, 0.2, 0.2, 0.1)))


@pytest.mark.parametrize("target", [1, 2])
@pytest.mark.parametrize("with_zero", [False, True])
def test_calibration(target, with_zero, forecast):
    """scikit-learn is one of the packages that tests need."""
    from sklearn.calibration import calibration_curve  # noqa: PLC0415

    probabilities, reference = forecast
    table = count_calibration(probabilities, reference, LABELS)[target - 1]
    chosen = (reference != 3) & (with_zero | (probabilities[target] > 0))
    own = reference[chosen] == target
    # Exact in double precision, and on an edge in the bin below.
    p = (np.rint(probabilities[target][chosen].astype(np.float64) * 255) / 255 - 1e-12).clip(0)
    share, mean = calibration_curve(own, p, n_bins=10, strategy="uniform")
    bins = table[1:].copy()
    bins[0] += with_zero * table[0]
    np.testing.assert_allclose(bins[:, 2] / bins[:, 0], share)
    np.testing.assert_allclose(bins[:, 1] / bins[:, 0] / 510, mean, atol=1e-6)
    weights = bins[:, 0] / bins[:, 0].sum()
    expected = float((weights * np.abs(share - mean)).sum())
    assert calibration_error(table, with_zero=with_zero) == pytest.approx(expected, rel=1e-5)
    assert table[:, 0].sum() == (reference != 3).sum()


def test_a_mean_of_two_has_half_steps(forecast):
    """Of pairs of configurations: levels are whole numbers of 510ths."""
    probabilities, reference = forecast
    mean = np.mean([probabilities, probabilities[:, ::-1]], axis=0)
    table = count_calibration(mean, reference, LABELS)[0]
    shown = mean[1][(reference != 3) & (mean[1] > 0)]
    assert table[1:, 1].sum() / 510 == pytest.approx(shown.sum(dtype=np.float64), rel=1e-6)


def test_regions_have_an_output_each(forecast):
    """In the order of the file; a voxel is of all regions that hold its label."""
    regions = Labels((("background", 0), ("core", (2,)), ("whole", (1, 2)), ("ignore", 3)), (2, 1))
    probabilities, reference = forecast[0][:2], forecast[1]
    core, whole = count_calibration(probabilities, reference, regions)
    assert core[:, 2].sum() == (reference == 2).sum()
    assert whole[:, 2].sum() == np.isin(reference, (1, 2)).sum()
    assert whole[0, 0] == ((probabilities[1] == 0) & (reference != 3)).sum()
    absent = absent_counts(reference, regions)
    assert (absent[:, 1:] == 0).all()
    assert absent[0, 0].tolist() == [(reference != 3).sum(), 0, (reference == 2).sum()]


def test_no_voxels_have_no_error():
    assert calibration_error(np.zeros((11, 3))) == pytest.approx(nan, nan_ok=True)
