"""Cases measured and summed up: against the functions of the metrics, and one resampled set of cases at a time."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest

from segflow.contracts.assessment import EvaluationConfig, LesionSizes
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.labels import Labels
from segflow.evaluation.assessment import agreement, comes_in_components, sum_up, sum_up_lesions, value_names
from segflow.evaluation.beyond_dice import (
    FURTHER_METRICS,
    Measuring,
    decide_measures,
    further_metrics,
    measure_case,
)
from segflow.metrics.bootstrap import draw_cases
from segflow.metrics.lesions import match_lesions
from segflow.metrics.surface import surface_distances, surface_metrics

LABELS = Labels((("background", 0), ("organ", 1), ("lesion", 2), ("ignore", 3)))
REGIONS = Labels((("background", 0), ("whole", (1, 2)), ("core", (2,))), (1, 2))
MM = (2.5, 1.0, 0.7)
TOLERANCES = {"1": 1.5, "2": 3.0}


def maps(seed, shape=(9, 20, 22), values=4):
    """A reference of some blobs, away from the edge, and two label maps that resemble it."""
    generator = np.random.default_rng(seed)
    reference = np.zeros(shape, dtype=np.uint8)
    for _ in range(6):
        corner = [int(generator.integers(1, size - 4)) if size > 1 else 0 for size in shape]
        reference[tuple(slice(at, at + 3) for at in corner)] = generator.integers(1, values)
    found = [np.roll(reference, (0, 1, step), axis=(0, 1, 2)) for step in (1, 2)]
    return reference, *(np.where(one == 3, 1, one) for one in found)


@pytest.mark.parametrize("shape", [(9, 20, 22), (1, 20, 22)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_metrics_of_a_case(seed, shape):
    """Within the box of the foreground as in the whole image."""
    reference, found, _ = maps(seed, shape)
    ignored = reference == 3
    measured = further_metrics(found, reference, LABELS, MM, Measuring(FURTHER_METRICS, TOLERANCES))
    for key, own in measured.items():
        one, other = ((each == int(key)) & ~ignored for each in (found, reference))
        distances = surface_distances(one, other, MM, ignored)
        expected = surface_metrics(distances, ("hd95", "assd", "nsd"), TOLERANCES[key])
        ml = nan if shape[0] == 1 else 2.5 * 1.0 * 0.7 / 1000
        volumes = (other.sum() * ml, one.sum() * ml)
        assert (own.parts["reference_ml"], own.parts["predicted_ml"]) == pytest.approx(volumes, nan_ok=True)
        expected["volume"] = volumes[1] - volumes[0] if one.any() or other.any() else nan
        lesions = match_lesions(one, other, ignored)
        assert own.lesions.counts == lesions.counts
        found_f1 = own.values.pop("lesions")
        assert own.values == pytest.approx(expected, nan_ok=True)
        assert 0 <= found_f1 <= 1 or not (one.any() or other.any())


def test_nothing_to_measure_is_no_number():
    nothing = np.zeros((3, 4, 5), dtype=np.uint8)
    found = further_metrics(nothing, nothing, LABELS, MM, Measuring(FURTHER_METRICS, TOLERANCES))["1"]
    assert found.values == pytest.approx(dict.fromkeys(FURTHER_METRICS, nan), nan_ok=True)
    assert set(found.parts.values()) == {0}
    assert found.lesions.counts == (0, 0, 0)


@pytest.fixture(scope="module")
def how():
    return decide_measures(
        EvaluationConfig(nsd_tolerance_mm={"lesion": 3}), LABELS, [((9, 20, 22), MM)], has_spacing=True
    )


@pytest.fixture(scope="module")
def cases(how):
    found = []
    for seed in range(7):
        reference, final, other = maps(seed)
        configurations = {"2d": other, "3d_fullres": final}
        found.append(measure_case(final, configurations, reference, LABELS, MM, how))
    return found


FOLDS = ["0", "0", "0", "1", "1", "1", "1"]


def test_means_and_their_intervals(cases, how):
    """As numpy has them, and each replicate drawn out."""
    rows = sum_up(cases, FOLDS, LABELS, how)
    assert [row.name for row in rows] == ["organ", "lesion"]
    for row in rows:
        assert list(row.metrics)[:5] == ["dice", "nsd", "hd95", "assd", "volume"]
        for metric, found in row.metrics.items():
            values = np.array([case.values[row.target][metric] for case in cases])
            times = draw_cases(len(cases)).astype(int)
            resampled = [np.nanmean(np.repeat(values, drawn)) for drawn in times]
            assert found.interval == pytest.approx(np.nanpercentile(resampled, (2.5, 97.5)))
            kept = values[~np.isnan(values)]
            assert (found.value, found.n, found.std) == pytest.approx(
                (kept.mean(), kept.size, kept.std(ddof=1))
            )
            assert found.quartiles == pytest.approx(np.percentile(kept, (25, 50, 75)))
            assert row.folds["1"][metric] == pytest.approx(np.nanmean(values[3:]))
            assert row.configurations["3d_fullres"][metric] == found
        assert row.configurations["2d"]["dice"].value < row.metrics["dice"].value
        assert row.agreement.bias == row.metrics["volume"].value
        assert row.calibration is None
    assert [row.nsd_tolerance_mm for row in rows] == [2, 3]


def test_the_confusion_table(cases):
    table = np.array(cases[0].confusion)
    reference, final, _ = maps(0)
    assert table.shape == (3, 3)
    assert table.sum() == (reference != 3).sum()
    assert table[1, 2] == ((reference == 1) & (final == 2)).sum()
    assert value_names(LABELS) == ("background", "organ", "lesion")
    assert value_names(REGIONS) == ("background", "label 1", "core")


def test_no_cases(how):
    for row in sum_up([], [], LABELS, how):
        assert (row.metrics["dice"].n, row.lesions, row.calibration, row.agreement) == (0, None, None, None)
        assert np.isnan([row.metrics["dice"].value, *row.metrics["nsd"].interval]).all()


@pytest.mark.parametrize(
    ("differences", "expected"),
    [([1.0, 3.0, nan], (2, 2 - 1.96 * 2**0.5, 2 + 1.96 * 2**0.5)), ([2.0], (2, nan, nan))],
)
def test_limits_of_agreement(differences, expected):
    found = agreement(np.array(differences))
    assert (found.bias, *found.limits) == pytest.approx(expected, nan_ok=True)


LESIONS = [
    LesionSizes(reference=(1, 1, 1, 10), found=(True, False, False, True), false_positives=(0.5, 0.5)),
    LesionSizes(reference=(4, 4), found=(True, True), false_positives=(50, 4)),
    LesionSizes(),
]


def test_lesions_of_all_cases():
    found = sum_up_lesions(LESIONS, draw_cases(3), "mm3")
    assert (found.lesions, found.predicted, found.cases) == (6, 8, 3)
    assert found.detection_rate.value == pytest.approx(4 / 6)
    assert found.precision.value == pytest.approx(4 / 8)
    assert found.f1.value == pytest.approx(8 / 14)
    assert found.false_positives_per_case.value == pytest.approx(4 / 3)
    low, high = found.false_positives_per_case.interval
    assert low == 0 < high <= 2
    rows = [(s.low, s.high, s.lesions, s.found, s.false_positives) for s in found.sizes]
    assert rows == [(None, 1, 0, 0, 2), (1, 4, 3, 1, 0), (4, None, 3, 3, 2)]
    assert sum(s.false_positives_per_case for s in found.sizes) == pytest.approx(4 / 3)
    assert [s.detection_rate for s in found.sizes] == pytest.approx([nan, 1 / 3, 1], nan_ok=True)


@pytest.mark.parametrize(
    ("counts", "expected"), [((1, 1, 2), False), ((2, 1), True), ((0, 0), False), ((), False)]
)
def test_what_comes_in_components(counts, expected):
    cases = [LesionSizes(reference=(1.0,) * n, found=(False,) * n) for n in counts]
    assert comes_in_components(cases) == expected


FLAT, COARSE = ((1, 20, 22), (999.0, 1.0, 1.0)), ((9, 20, 22), (5.0, 3.0, 3.0))


@pytest.mark.parametrize(
    ("wanted", "grid", "has_spacing", "left_out", "unit", "said"),
    [
        ({}, ((9, 20, 22), MM), True, set(), "mm3", ["The tolerance of NSD is 2 mm (the default)."]),
        ({}, COARSE, True, set(), "mm3", ["3 mm (the images' finest spacing, coarser than 2 mm)"]),
        ({}, FLAT, True, {"volume"}, "mm2", ["The images are flat", "2 mm"]),
        ({}, FLAT, False, {"volume", "nsd", "hd95", "assd"}, "pixels", ["spacing is not stored, so neither"]),
        (
            {"nsd_tolerance_mm": {"lesion": 4}},
            ((9, 20, 22), MM),
            True,
            set(),
            "mm3",
            ["by class: organ 2 mm (the default), lesion 4 mm (as configured)"],
        ),
        (
            {"metrics": ["nsd"], "nsd_tolerance_mm": 1.5},
            FLAT,
            False,
            {"dice", "hd95", "assd", "volume", "lesions", "confusion", "calibration"},
            "pixels",
            ["a voxel is taken to be 1 mm wide", "1.5 mm (as configured)"],
        ),
    ],
)
def test_what_is_measured(wanted, grid, has_spacing, left_out, unit, said):
    every = {"dice", "nsd", "hd95", "assd", "volume", "lesions", "confusion", "calibration"}
    how = decide_measures(EvaluationConfig(**wanted), LABELS, [grid], has_spacing=has_spacing)
    assert (set(how.measures), how.unit) == (every - left_out, unit)
    assert len(how.notes) == len(said)
    assert all(part in note for part, note in zip(said, how.notes, strict=True))


def test_a_tolerance_of_no_class():
    with pytest.raises(ConfigurationError, match="there is no class 'liver'; there are organ, lesion"):
        decide_measures(EvaluationConfig(nsd_tolerance_mm={"liver": 1}), LABELS, [], has_spacing=True)
