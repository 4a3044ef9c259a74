"""From raw data to prepared cases: ours against nnU-Net's, each with its own fingerprint and plan."""

from __future__ import annotations

import numpy as np
import pytest
from peer_plans import plan_differences
from peer_runs import read_json

from segflow.commands.main import main

pytestmark = pytest.mark.peer

IMAGE_TOLERANCE = 1e-5
STATISTICS_TOLERANCE = 1e-4  # relative; nnU-Net sums up 1e8 values in float32
SUMMED = ("mean", "std")


def uses_mask(plan):
    """Whether z-scores are those of the inside of the mask."""
    return any(plan["configurations"]["2d"]["use_mask_for_norm"])


def resamples_apart(plan):
    """Whether the coarsest axis is so coarse that nnU-Net treats it apart."""
    spacing = plan["configurations"]["3d_fullres"]["spacing"]
    return max(spacing) > 3 * min(spacing)


# What a data set is there for; without it, its comparisons would say less than their names do.
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


def test_fingerprint(both):
    theirs, ours = read_json(both.theirs / "dataset_fingerprint.json"), read_json(both.fingerprint)
    their_channels = theirs.pop("foreground_intensity_properties_per_channel")
    our_channels = ours.pop("foreground_intensity_properties_per_channel")
    assert ours == theirs
    assert our_channels.keys() == their_channels.keys()
    for channel, expected in their_channels.items():
        found = our_channels[channel]
        for name in SUMMED:
            summed = expected.pop(name)
            assert found.pop(name) == pytest.approx(summed, rel=STATISTICS_TOLERANCE), (channel, name)
        assert found == expected, f"channel {channel}"


def test_plan(both):
    theirs = read_json(both.theirs / "plans" / "ExperimentPlanner.json")
    differences = plan_differences(read_json(both.plan), theirs, statistics=STATISTICS_TOLERANCE)
    assert not differences, "\n".join(differences)


def test_purpose(both):
    plan = read_json(both.theirs / "plans" / "ExperimentPlanner.json")
    assert PURPOSES.get(both.data.name, bool)(plan), f"planned are {list(plan['configurations'])}"


def test_folds(both, tmp_path):
    ours, theirs = tmp_path / "splits_final.json", both.theirs / "splits_final.json"
    status = main(["folds", str(both.raw), "--output", str(ours)])
    if theirs.exists():
        assert status == 0
        assert read_json(ours) == read_json(theirs)
    else:  # too few cases: an error in both
        assert status == 1


def test_grid(both):
    faults = []
    for names in both.case_names():
        ours, theirs = both.our_case(*names), both.their_case(*names)
        if ours.grid != theirs.grid:
            faults.append(f"{'/'.join(names)}: {ours.grid}, nnU-Net has {theirs.grid}")
    assert not faults, "\n".join(faults)


def test_labels(both):
    faults = []
    for names in both.case_names():
        ours, theirs = both.our_case(*names).labels, both.their_case(*names).labels
        differing = np.argwhere(ours != theirs)
        if len(differing):
            first = tuple(differing[0].tolist())
            faults.append(
                f"{'/'.join(names)}: {len(differing)} of {ours.size} voxels differ, the first at {first}: "
                f"{ours[first]}, nnU-Net has {theirs[first]}"
            )
    assert not faults, "\n".join(faults)


def test_locations(both):
    faults = []
    for names in both.case_names():
        ours, theirs = both.our_case(*names).locations, both.their_case(*names).locations
        if list(ours) != list(theirs):
            faults.append(f"{'/'.join(names)}: targets {list(ours)}, nnU-Net has {list(theirs)}")
            continue
        for target, voxels in ours.items():
            if not np.array_equal(voxels, theirs[target]):
                faults.append(
                    f"{'/'.join(names)}: target {target}: {len(voxels)} voxels, nnU-Net has {len(theirs[target])}"
                )
    assert not faults, "\n".join(faults)


def test_images(both, note_difference):
    faults, worst = [], (0.0, "none")
    for names in both.case_names():
        ours, theirs = both.our_case(*names).image, both.their_case(*names).image
        assert ours.dtype == theirs.dtype == np.float32
        for channel, (found, expected) in enumerate(zip(ours, theirs, strict=True)):
            difference = np.abs(found - expected)
            scale = float(np.abs(expected).max())
            tolerance = IMAGE_TOLERANCE * (max(1.0, scale) if both.data.relative else 1.0)
            largest = float(difference.max())
            text = f"{'/'.join(names)}, channel {channel}: up to {largest:.2g}, values up to {scale:.3g}"
            worst = max(worst, (largest, text))
            if not largest <= tolerance:
                faults.append(
                    f"{text}, {np.count_nonzero(difference > tolerance)} of {found.size} voxels too far"
                )
    note_difference(both.data.name, worst[1])
    assert not faults, "\n".join(faults)
