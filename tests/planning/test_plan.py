"""Whole plans against golden vectors, and the rules that hold for every plan."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fingerprint_samples import fingerprint_of

from segflow.contracts.errors import PlanError
from segflow.contracts.fingerprint import Fingerprint
from segflow.planning import PlanInput, make_plan
from segflow.recipes import PlannerRecipe
from segflow.recipes.files import recipe_named, recipe_names

FOLDER = Path(__file__).parents[1] / "golden"
VECTORS = json.loads((FOLDER / "planning_default.json").read_text())["fingerprints"]
RESIDUAL = json.loads((FOLDER / "planning_residual.json").read_text())["plans"]
RECIPE = PlannerRecipe()

#: (recipe, fingerprint, configurations): what each planner of the peer answered.
GOLDEN = [("nnunet", vector["name"], vector["configurations"]) for vector in VECTORS] + [
    (plan["recipe"], plan["fingerprint"], plan["configurations"]) for plan in RESIDUAL
]
IDS = [f"{recipe}-{fingerprint}" for recipe, fingerprint, _ in GOLDEN]


def plan_input(**changes):
    defaults = {"name": "sample", "channel_names": ("MRI",), "n_cases": 100, "n_outputs": 2}
    return PlanInput(**defaults | changes)


def plan_of(name, recipe=RECIPE):
    """Of a made-up fingerprint of the golden vectors."""
    vector = next(vector for vector in VECTORS if vector["name"] == name)
    fingerprint = fingerprint_of(
        (case["spacing"], case["shape"]) for case in vector["cases"] for _ in range(case["count"])
    )
    n_cases = len(fingerprint.spacings)
    return make_plan(fingerprint, plan_input(n_cases=n_cases, n_outputs=vector["n_outputs"]), recipe)


def test_there_is_a_vector_for_every_recipe_and_fingerprint():
    expected = {f"{recipe}-{vector['name']}" for recipe in recipe_names() for vector in VECTORS}
    assert set(IDS) == expected
    assert len(IDS) == len(expected) == 65


@pytest.mark.parametrize(("recipe", "fingerprint", "configurations"), GOLDEN, ids=IDS)
def test_golden(recipe, fingerprint, configurations):
    plan = plan_of(fingerprint, recipe_named(recipe).planning)
    cascade = {"3d_cascade_fullres"} if "3d_lowres" in configurations else set()
    assert set(plan.configurations) == set(configurations) | cascade
    for name, expected in configurations.items():
        found = plan.configurations[name]
        assert list(found.patch_shape) == expected["patch"], name
        assert found.batch_size == expected["batch"], name
        if "spacing" in expected:
            np.testing.assert_allclose(found.spacing_mm, expected["spacing"], atol=5e-5)
        if "median" in expected:
            assert list(found.median_shape) == expected["median"]
            assert [list(stride) for stride in found.architecture.strides] == expected["strides"]
            assert [list(kernel) for kernel in found.architecture.kernels] == expected["kernels"]


@pytest.mark.parametrize(("recipe", "fingerprint", "_configurations"), GOLDEN, ids=IDS)
def test_architecture_fits_the_patch(recipe, fingerprint, _configurations):
    is_plain = recipe == "nnunet"
    for name, configuration in plan_of(fingerprint, recipe_named(recipe).planning).configurations.items():
        architecture = configuration.architecture
        n = architecture.n_stages
        assert len(architecture.strides) == len(architecture.kernels) == n
        assert architecture.encoder == ("plain" if is_plain else "residual")
        assert architecture.encoder_blocks == ((2,) * n if is_plain else ((1, 3, 4) + (6,) * n)[:n])
        assert architecture.decoder_blocks == ((2,) if is_plain else (1,)) * (n - 1)
        most = 512 if name == "2d" else 320
        assert architecture.features == tuple(min(32 * 2**stage, most) for stage in range(n))
        divisor = np.prod(architecture.strides, axis=0)
        assert not (np.asarray(configuration.patch_shape) % divisor).any()


def test_cascade_links_the_two_resolutions():
    plan = plan_of("Liver")
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


@pytest.mark.parametrize(
    ("recipe", "planner", "low", "full"),
    [
        ("nnunet", "ExperimentPlanner", "nnUNetPlans", "nnUNetPlans"),
        ("resenc", "ResEncUNetPlanner", "nnUNetResEncUNetPlans", "nnUNetPlans"),
        ("resenc-m", "nnUNetPlannerResEncM", "nnUNetResEncUNetMPlans", "nnUNetPlans"),
        ("resenc-l", "nnUNetPlannerResEncL", "nnUNetResEncUNetLPlans", "nnUNetPlans"),
        ("resenc-xl", "nnUNetPlannerResEncXL", "nnUNetResEncUNetXLPlans", "nnUNetPlans"),
    ],
)
def test_names_of_the_peer(recipe, planner, low, full):
    plan = plan_of("Iso05", recipe_named(recipe).planning)
    assert (plan.planner, plan.plans_name) == (planner, low)
    assert {name: c.data_identifier for name, c in plan.configurations.items()} == {
        "2d": f"{full}_2d",
        "3d_lowres": f"{low}_3d_lowres",
        "3d_fullres": f"{full}_3d_fullres",
        "3d_cascade_fullres": f"{full}_3d_fullres",
    }


def test_data_at_another_spacing_have_another_name():
    given = recipe_named("resenc").planning.model_copy(update={"spacing_mm": (2.0, 2.0, 2.0)})
    found = plan_of("Hippo", given).configurations
    assert found["3d_fullres"].data_identifier == "nnUNetResEncUNetPlans_3d_fullres"


def test_every_entry_of_the_label_table_counts_in_the_memory():
    """Regions and the ignore label as well; each is one more map at full size."""
    fingerprint = fingerprint_of([((1, 1, 1), (138, 169, 138))] * 484)
    batches = [
        make_plan(fingerprint, plan_input(n_cases=484, n_outputs=n), RECIPE).configurations["2d"].batch_size
        for n in (4, 8, 60)
    ]
    assert batches[0] == 105
    assert batches[0] > batches[1] > batches[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"foreground_intensity_properties_per_channel": {}},
            r"the fingerprint has 0 channels, but dataset\.json names 1 \(MRI\)",
        ),
        ({"spacings": ()}, "a spacing and a shape for each case"),
        ({"spacings": (), "shapes_after_crop": ()}, "a spacing and a shape for each case"),
        ({"spacings": ((1.0, 0.0, 1.0),)}, "not above 0 mm"),
        ({"spacings": ((1.0, float("nan"), 1.0),)}, "not above 0 mm"),
    ],
)
def test_a_fingerprint_that_does_not_fit(changes, message):
    fingerprint = fingerprint_of([((1, 1, 1), (36, 50, 35))]).model_copy(update=changes)
    with pytest.raises(PlanError, match=message):
        make_plan(fingerprint, plan_input(), RECIPE)


@pytest.mark.parametrize("recipe", ["nnunet", "resenc"])
def test_a_gpu_that_is_too_small(recipe):
    tiny = recipe_named(recipe).planning.model_copy(update={"gpu_memory_gb": 1e-9})
    with pytest.raises(PlanError, match=r"no network fits the memory .* planning\.gpu_memory_gb"):
        plan_of("Hippo", tiny)
