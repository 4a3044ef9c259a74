"""From raw data to prepared cases: segflow's against nnU-Net's, each with its own fingerprint and plan."""

from __future__ import annotations

import numpy as np
import pytest
from nnunet_runs import read_json

from segflow.commands.main import main

pytestmark = pytest.mark.peer

IMAGE_TOLERANCE = 1e-5
STATISTICS_TOLERANCE = 1e-4  # relative; nnU-Net sums up 1e8 values in float32
PROPERTIES = "foreground_intensity_properties_per_channel"


def uses_mask(plan):
    """Whether z-scores are those of the inside of the mask."""
    return any(plan["configurations"]["2d"]["use_mask_for_norm"])


def resamples_apart(plan):
    """Whether the coarsest axis is so coarse that it is resampled separately."""
    spacing = plan["configurations"]["3d_fullres"]["spacing"]
    return max(spacing) > 3 * min(spacing)


# The purpose of a data set; without it, its comparisons would prove less than their names say.
PURPOSES = {
    "ms": uses_mask,
    "anisotropic": lambda plan: resamples_apart(plan) and not uses_mask(plan),
    "anisotropic_exact": lambda plan: resamples_apart(plan) and uses_mask(plan),
    "transposed": lambda plan: resamples_apart(plan) and plan["transpose_forward"] == [2, 0, 1],
    "transposed_exact": lambda plan: resamples_apart(plan) and plan["transpose_forward"] == [1, 0, 2],
    "moderate": lambda plan: not resamples_apart(plan),
    "cascade": lambda plan: "3d_cascade_fullres" in plan["configurations"],
    "flat": lambda plan: list(plan["configurations"]) == ["2d"],
}


def tolerant(data):
    """nnU-Net's fingerprint or plan, to which segflow's is equal but for rounding of mean and standard deviation."""
    for properties in data[PROPERTIES].values():
        for name in ("mean", "std"):
            properties[name] = pytest.approx(properties[name], rel=STATISTICS_TOLERANCE)
    return data


def test_fingerprint(both):
    assert read_json(both.fingerprint) == tolerant(read_json(both.theirs / "dataset_fingerprint.json"))


def test_plan(both):
    theirs = read_json(both.theirs / "plans" / "ExperimentPlanner.json")
    assert PURPOSES.get(both.data.name, bool)(theirs), f"planned are {list(theirs['configurations'])}"
    assert read_json(both.plan) == tolerant(theirs)


def test_folds(both, tmp_path):
    ours, theirs = tmp_path / "splits_final.json", both.theirs / "splits_final.json"
    status = main(["folds", str(both.raw), "--output", str(ours)])
    assert status == (0 if theirs.exists() else 1)  # too few cases: an error in both
    if theirs.exists():
        assert read_json(ours) == read_json(theirs)


@pytest.mark.parametrize("kind", ["spacing", "shape", "crop_box", "labels", "locations"])
def test_same(both, kind):
    for name, ours, theirs in both.cases():
        assert list(ours) == list(theirs), name
        for key in [key for key in ours if key.startswith(kind)]:
            np.testing.assert_array_equal(ours[key], theirs[key], f"{name}: {key}")


def test_images(both, note_difference):
    faults, worst = [], (0.0, "none")
    for name, ours, theirs in both.cases():
        assert ours["image"].dtype == theirs["image"].dtype == np.float32
        for channel, (found, expected) in enumerate(zip(ours["image"], theirs["image"], strict=True)):
            largest, scale = float(np.abs(found - expected).max()), float(np.abs(expected).max())
            text = f"{name}, channel {channel}: up to {largest:.2g}, values up to {scale:.3g}"
            worst = max(worst, (largest, text))
            if not largest <= IMAGE_TOLERANCE * (max(1.0, scale) if both.data.relative else 1.0):
                faults.append(text)
    note_difference(both.data.name, worst[1])
    assert not faults, "\n".join(faults)
