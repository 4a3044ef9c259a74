"""Whole plans against golden vectors, and the rules that hold for every plan."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fingerprint_samples import fingerprint_of

from segflow.contracts.fingerprint import Fingerprint
from segflow.planning import PlanInput, make_plan
from segflow.recipes import PlannerRecipe

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "planning_default.json").read_text())
VECTORS = GOLDEN["fingerprints"]
RECIPE = PlannerRecipe()


def plan_input(**changes):
    defaults = {"name": "sample", "channel_names": ("MRI",), "n_cases": 100, "n_outputs": 2}
    return PlanInput(**defaults | changes)


def plan_of(vector):
    fingerprint = fingerprint_of(
        (case["spacing"], case["shape"]) for case in vector["cases"] for _ in range(case["count"])
    )
    n_cases = len(fingerprint.spacings)
    return make_plan(fingerprint, plan_input(n_cases=n_cases, n_outputs=vector["n_outputs"]), RECIPE)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_golden(vector):
    plan = plan_of(vector)
    cascade = {"3d_cascade_fullres"} if "3d_lowres" in vector["configurations"] else set()
    assert set(plan.configurations) == set(vector["configurations"]) | cascade
    for name, expected in vector["configurations"].items():
        found = plan.configurations[name]
        assert list(found.patch_shape) == expected["patch"], name
        assert found.batch_size == expected["batch"], name
        if "spacing" in expected:
            np.testing.assert_allclose(found.spacing_mm, expected["spacing"], atol=5e-5)
        if "median" in expected:
            assert list(found.median_shape) == expected["median"]
            assert [list(stride) for stride in found.architecture.strides] == expected["strides"]
            assert [list(kernel) for kernel in found.architecture.kernels] == expected["kernels"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_architecture_fits_the_patch(vector):
    for name, configuration in plan_of(vector).configurations.items():
        architecture = configuration.architecture
        n = architecture.n_stages
        assert len(architecture.strides) == len(architecture.kernels) == len(architecture.encoder_blocks) == n
        assert architecture.decoder_blocks == (2,) * (n - 1)
        most = 512 if name == "2d" else 320
        assert architecture.features == tuple(min(32 * 2**stage, most) for stage in range(n))
        divisor = np.prod(architecture.strides, axis=0)
        assert not (np.asarray(configuration.patch_shape) % divisor).any()


def test_cascade_links_the_two_resolutions():
    liver = next(vector for vector in VECTORS if vector["name"] == "Liver")
    plan = plan_of(liver)
    assert list(plan.configurations) == ["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]
    low, full, cascade = (plan.configurations[f"3d_{n}"] for n in ("lowres", "fullres", "cascade_fullres"))
    assert (low.next_stage, full.next_stage, cascade.next_stage) == ("3d_cascade_fullres", None, None)
    assert (low.previous_stage, full.previous_stage, cascade.previous_stage) == (None, None, "3d_lowres")
    assert (low.batch_dice, full.batch_dice, cascade.batch_dice) == (False, True, True)
    assert cascade.data_identifier == full.data_identifier == "nnUNetPlans_3d_fullres"
    assert low.data_identifier == "nnUNetPlans_3d_lowres"
    assert cascade.architecture == full.architecture


def test_batch_dice_without_a_cascade():
    plan = make_plan(fingerprint_of([((1, 1, 1), (36, 50, 35))]), plan_input(), RECIPE)
    assert {name: c.batch_dice for name, c in plan.configurations.items()} == {
        "2d": True,
        "3d_fullres": False,
    }


def test_coarse_axis_comes_first():
    plan = make_plan(fingerprint_of([((0.8, 0.9, 6.0), (512, 480, 24))]), plan_input(), RECIPE)
    assert plan.transpose_forward == (2, 0, 1)
    assert plan.transpose_backward == (1, 2, 0)
    assert plan.median_spacing_mm == (6.0, 0.8, 0.9)
    assert plan.median_shape == (24, 512, 480)
    assert plan.configurations["3d_fullres"].median_shape == (24.0, 512.0, 480.0)
    assert plan.configurations["2d"].spacing_mm == (0.8, 0.9)


def test_given_spacing_replaces_the_rule():
    fingerprint = fingerprint_of([((1, 1, 1), (40, 60, 50))])
    given = PlannerRecipe(spacing_mm=(1.0, 2.0, 1.0))
    plan = make_plan(fingerprint, plan_input(), given)
    full = plan.configurations["3d_fullres"]
    assert plan.transpose_forward == (1, 0, 2)
    assert full.spacing_mm == (2.0, 1.0, 1.0)
    assert full.median_shape == (30.0, 40.0, 50.0)


def test_more_memory_gives_more():
    fingerprint = fingerprint_of([((1, 1, 1), (138, 169, 138))])
    larger = PlannerRecipe(gpu_memory_gb=24.0)
    small, large = (
        make_plan(fingerprint, plan_input(), recipe).configurations["3d_fullres"]
        for recipe in (RECIPE, larger)
    )
    voxels = [np.prod(c.patch_shape) * c.batch_size for c in (small, large)]
    assert voxels[1] > 2 * voxels[0]


def test_normalisation_by_channel():
    fingerprint = fingerprint_of([((1, 1, 1), (36, 50, 35))], relative_size=0.7, channels=2)
    plan = make_plan(fingerprint, plan_input(channel_names=("CT", "T1")), RECIPE)
    for configuration in plan.configurations.values():
        assert configuration.normalization == ("ct", "zscore")
        assert configuration.mask_normalization == (False, True)
    assert isinstance(fingerprint, Fingerprint)
    assert plan.intensities == fingerprint.foreground_intensity_properties_per_channel
