"""What is measured of every case, which values stand out, and what looks mislabelled."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest
from case_samples import CLASSES, IGNORE, REGIONS, labels_of

from segflow.reporting.cases import (
    CaseFacts,
    Measure,
    foreground_medians,
    measures,
    outliers,
    target_volumes,
    unexpected,
    wrong_way_round,
)

SIDES = labels_of(3)


def body(*, exchanged=False, mirrored=None, lost=False):
    """Two organs at the sides and one above; all of different size."""
    found = np.zeros((12, 14, 16), np.int16)
    found[2:6, 3:9, 1:6] = 2 if exchanged else 1
    found[2:6, 3:8, 10:15] = 1 if exchanged else 2
    found[8:11, 1:4, 5:8] = 0 if lost else 3
    return found if mirrored is None else np.flip(found, mirrored)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (body(), []),
        (body(lost=True), []),
        (np.zeros_like(body()), []),
        (body(exchanged=True), ["'c1' and 'c2' look exchanged", "from 0.000 and 0.000 to 1.000 and 1.000."]),
        (body(mirrored=0), ["The reference looks mirrored from head to foot", "from 0.0", "to 1.000."]),
        (body(mirrored=1), ["The reference looks mirrored from front to back", "to 1.000."]),
    ],
    ids=["right", "a class too many", "empty", "exchanged", "upside down", "turned around"],
)
def test_what_looks_mislabelled(reference, words):
    found = wrong_way_round(reference, body(), SIDES, is_oriented=True)
    assert len(found) == bool(words)
    assert all(word in found[0] for word in words)


def test_left_and_right():
    """A body with one organ, at the right: its mirror image is at the left; without orientation, the axis is named."""
    organ = np.where(body() == 1, 1, 0)
    for is_oriented, name in ((True, "from left to right"), (False, "along x")):
        (found,) = wrong_way_round(np.flip(organ, 2), organ, labels_of(1), is_oriented=is_oriented)
        assert f"mirrored {name}: if it were mirrored back" in found


def test_voxels_that_are_not_annotated_are_no_mistake():
    reference = np.where(body() == 3, 0, body())
    prediction = np.where(reference == 1, 2, 1)
    assert wrong_way_round(np.full_like(reference, 3), prediction, IGNORE, is_oriented=True) == ()
    found = wrong_way_round(reference, np.array([0, 2, 1])[reference], REGIONS, is_oriented=True)
    assert "'label 1' and 'core' look exchanged" in found[0]


def facts(case, volume=2.0, predicted=(2.0,), **others):
    values = {
        "spacing_mm": (2.0, 1.0, 1.0),
        "shape": (10, 20, 30),
        "intensities": (5.0,),
        "volumes": (volume,),
    }
    return CaseFacts(case, **{**values, "predicted": predicted, **others})


@pytest.mark.parametrize(
    ("volume", "predicted", "is_doubtful"),
    [(0.0, (1.0,), True), (0.0, (0.1,), False), (1.0, (1.0,), False), (0.0, (), False)],
    ids=["large", "a few stray voxels", "annotated", "not predicted"],
)
def test_an_empty_reference_with_a_large_prediction(volume, predicted, is_doubtful):
    case = facts("a", volume, predicted)
    found, *others = unexpected([case, facts("b", 1.0), facts("c", 2.0), facts("d", 3.0)], labels_of(1))
    sentence = (
        "'c1' is not annotated, but 1 ml of it are predicted; where it is annotated, it has 2 ml (median)."
    )
    assert found.doubts == ((sentence,) if is_doubtful else ())
    assert not any(other.doubts for other in others)
    assert unexpected([case], labels_of(1)) == [case]


@pytest.mark.parametrize(
    ("values", "is_size", "expected"),
    [
        ([1, 1, 1, 1, 1, 3, 0.2], True, ["case_6", "case_5"]),
        ([1, 1.000002, 1, 1, 0.999999], True, []),
        ([1, 2, 3, 4, 5, 6, 7, 8], True, []),
        ([10, 20, 30, 40, 50, 1000, -500], False, ["case_5", "case_6"]),
        ([1, 10, 100, 1000, 10000], True, []),
        ([1, 1, 1, 9], True, []),
    ],
    ids=["two", "rounding", "spread", "differences", "ratios", "too few cases"],
)
def test_outliers_are_named_farthest_first(values, is_size, expected):
    named = {f"case_{i}": float(value) for i, value in enumerate(values)}
    assert outliers(Measure("x", "", named, is_size)) == expected


def test_measures_over_cases():
    found = measures([facts("a"), facts("b", 0.0, intensities=(nan,))], labels_of(1), ["CT"])
    assert {measure.name: (measure.unit, measure.values, measure.varies) for measure in found} == {
        "spacing along z": ("mm", {"a": 2.0, "b": 2.0}, False),
        "spacing along y": ("mm", {"a": 1.0, "b": 1.0}, False),
        "spacing along x": ("mm", {"a": 1.0, "b": 1.0}, False),
        "size along z": ("voxels", {"a": 10, "b": 10}, False),
        "size along y": ("voxels", {"a": 20, "b": 20}, False),
        "size along x": ("voxels", {"a": 30, "b": 30}, False),
        "CT, median of the annotated voxels": ("", {"a": 5.0}, False),
        "c1, annotated": ("ml", {"a": 2.0}, False),
    }
    flat = measures([facts("a", shape=(1, 20, 30), spacing_mm=())], labels_of(1), ["grey"])
    assert [(m.name, m.unit) for m in flat[:2]] == [("size along y", "voxels"), ("size along x", "voxels")]
    assert flat[-1].unit == "pixels"


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "expected"),
    [
        ((2, 10, 50), (2.0, 0.5, 1.0), (1.0, 0.0)),
        ((2, 10, 50), (), (1000, 0)),
        ((1, 5, 2), (9.0, 2.0, 1.0), (20, 0)),
    ],
    ids=["ml", "voxels", "mm2"],
)
def test_volumes(shape, spacing_mm, expected):
    assert target_volumes(np.ones(shape, np.int16), CLASSES, spacing_mm) == expected


def test_medians_of_annotated_voxels():
    image = np.array([[[[1, 2, 9]]], [[[3, 4, 0]]]], np.float32)
    assert foreground_medians(image, np.array([[[1, 2, 0]]]), CLASSES) == (1.5, 3.5)
    assert np.isnan(foreground_medians(image, np.zeros((1, 1, 3), np.int16), CLASSES)).all()
