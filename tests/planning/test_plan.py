"""Whole plans against golden vectors and by hand, and the rules that hold for every plan."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fingerprint_samples import fingerprint_of

from segflow.contracts.errors import PlanError
from segflow.planning.plan import PlanInput, make_plan, mask_normalization, normalizations, reader_name
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import recipe_named, recipe_names

FOLDER = Path(__file__).parents[1] / "golden"
VECTORS = json.loads((FOLDER / "planning_default.json").read_text())["fingerprints"]
RESIDUAL = json.loads((FOLDER / "planning_residual.json").read_text())["plans"]
#: (recipe, fingerprint, configurations): what each planner of nnU-Net answered.
GOLDEN = [("nnunet", vector["name"], vector["configurations"]) for vector in VECTORS] + [
    (plan["recipe"], plan["fingerprint"], plan["configurations"]) for plan in RESIDUAL
]
IDS = [f"{recipe}-{fingerprint}" for recipe, fingerprint, _ in GOLDEN]

RECIPE = PlannerRecipe()
SAMPLE = PlanInput(name="sample", channel_names=("MRI",), n_cases=100, n_outputs=2)
SMALL = fingerprint_of([((1, 1, 1), (36, 50, 35))])


def plan_of(name, recipe=RECIPE):
    """Of a fingerprint of the golden vectors."""
    vector = next(vector for vector in VECTORS if vector["name"] == name)
    fingerprint = fingerprint_of(
        (case["spacing"], case["shape"]) for case in vector["cases"] for _ in range(case["count"])
    )
    n_cases = len(fingerprint.spacings)
    return make_plan(fingerprint, replace(SAMPLE, n_cases=n_cases, n_outputs=vector["n_outputs"]), recipe)


def test_there_is_a_vector_for_every_recipe_and_fingerprint():
    others = {"flare21", "nnunet-2018", "nnunet-2021", "swift"}
    assert recipe_named("swift").planning == recipe_named("nnunet").planning
    expected = {f"{recipe}-{vector['name']}" for recipe in {*recipe_names()} - others for vector in VECTORS}
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
    for configuration in plan.configurations.values():
        check_network(configuration, is_plain=recipe == "nnunet")


def check_network(configuration, *, is_plain):
    """It fits the patch, and has the widths and depths of the method."""
    architecture = configuration.architecture
    n = architecture.n_stages
    assert len(architecture.strides) == len(architecture.kernels) == n
    assert architecture.encoder == ("plain" if is_plain else "residual")
    assert architecture.encoder_blocks == ((2,) * n if is_plain else ((1, 3, 4) + (6,) * n)[:n])
    assert architecture.decoder_blocks == ((2,) if is_plain else (1,)) * (n - 1)
    most = 512 if configuration.name == "2d" else 320
    assert architecture.features == tuple(min(32 * 2**stage, most) for stage in range(n))
    assert not (np.asarray(configuration.patch_shape) % np.prod(architecture.strides, axis=0)).any()


def test_cascade_links_the_two_resolutions():
    found = plan_of("Liver").configurations
    assert {name: (c.batch_dice, c.previous_stage, c.next_stage) for name, c in found.items()} == {
        "2d": (True, None, None),
        "3d_lowres": (False, None, "3d_cascade_fullres"),
        "3d_fullres": (True, None, None),
        "3d_cascade_fullres": (True, "3d_lowres", None),
    }
    assert found["3d_cascade_fullres"].architecture == found["3d_fullres"].architecture
    alone = make_plan(SMALL, SAMPLE, RECIPE).configurations
    assert {name: c.batch_dice for name, c in alone.items()} == {"2d": True, "3d_fullres": False}


def test_coarse_axis_comes_first():
    plan = make_plan(fingerprint_of([((0.8, 0.9, 6.0), (512, 480, 24))]), SAMPLE, RECIPE)
    assert plan.transpose_forward == (2, 0, 1)
    assert plan.transpose_backward == (1, 2, 0)
    assert plan.median_spacing_mm == (6.0, 0.8, 0.9)
    assert plan.median_shape == (24, 512, 480)
    assert plan.configurations["3d_fullres"].median_shape == (24.0, 512.0, 480.0)
    assert plan.configurations["2d"].spacing_mm == (0.8, 0.9)


def test_given_spacing_replaces_the_rule():
    given = PlannerRecipe(spacing_mm=(1.0, 2.0, 1.0))
    plan = make_plan(fingerprint_of([((1, 1, 1), (40, 60, 50))]), SAMPLE, given)
    full = plan.configurations["3d_fullres"]
    assert plan.transpose_forward == (1, 0, 2)
    assert full.spacing_mm == (2.0, 1.0, 1.0)
    assert full.median_shape == (30.0, 40.0, 50.0)


def test_more_memory_allows_larger_batches_of_larger_patches():
    fingerprint = fingerprint_of([((1, 1, 1), (138, 169, 138))])
    small, large = (
        make_plan(fingerprint, SAMPLE, recipe).configurations["3d_fullres"]
        for recipe in (RECIPE, PlannerRecipe(gpu_memory_gb=24.0))
    )
    assert np.prod(large.patch_shape) * large.batch_size > 2 * np.prod(small.patch_shape) * small.batch_size


def test_normalisation_by_channel():
    fingerprint = fingerprint_of([((1, 1, 1), (36, 50, 35))], relative_size=0.7, channels=2)
    plan = make_plan(fingerprint, replace(SAMPLE, channel_names=("CT", "T1")), RECIPE)
    for configuration in plan.configurations.values():
        assert configuration.normalization == ("ct", "zscore")
        assert configuration.mask_normalization == (False, True)
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
def test_names_of_nnunet(recipe, planner, low, full):
    """Data at another spacing have a name of their own."""
    planning = recipe_named(recipe).planning
    plan = plan_of("Iso05", planning)
    assert (plan.planner, plan.plans_name) == (planner, low)
    assert {name: c.data_identifier for name, c in plan.configurations.items()} == {
        "2d": f"{full}_2d",
        "3d_lowres": f"{low}_3d_lowres",
        "3d_fullres": f"{full}_3d_fullres",
        "3d_cascade_fullres": f"{full}_3d_fullres",
    }
    other = plan_of("Hippo", planning.model_copy(update={"spacing_mm": (2.0, 2.0, 2.0)})).configurations
    assert other["3d_fullres"].data_identifier == f"{low}_3d_fullres"


def test_every_entry_of_the_label_table_counts_in_the_memory():
    """Regions and the ignore label as well; each is one more map at full size."""
    fingerprint = fingerprint_of([((1, 1, 1), (138, 169, 138))] * 484)
    batches = [
        make_plan(fingerprint, replace(SAMPLE, n_cases=484, n_outputs=n), RECIPE)
        .configurations["2d"]
        .batch_size
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
    with pytest.raises(PlanError, match=message):
        make_plan(SMALL.model_copy(update=changes), SAMPLE, RECIPE)


@pytest.mark.parametrize("recipe", ["nnunet", "resenc"])
def test_a_gpu_that_is_too_small(recipe):
    tiny = recipe_named(recipe).planning.model_copy(update={"gpu_memory_gb": 1e-9})
    with pytest.raises(PlanError, match=r"no network fits the memory .* planning\.gpu_memory_gb"):
        plan_of("Hippo", tiny)


#: Patch, batch and poolings per axis. nnunet-2018 begins with the median image, each axis rounded up to a multiple of
#: what it is divided by, at most 2^5; while over 128^3 or 256^2 voxels, the axis that covers most is shortened.
#: nnunet-2021 uses the estimate of method.md 6.5 and counts the image. 2d of BraTS: six stages of 32 to 480 features,
#: 9,655,680 + 30,720 elements, so 21,055,624.53 / 9,686,400 * 50 = 108.7 fit; 3d: 454,893,568 + 2,097,152, so 2.4 fit.
BY_HAND = {
    ("nnunet-2018", "Hippo"): {
        "2d": ((56, 40), 366, (3, 3)),  # a twentieth of the data; 42 * 256^2 voxels would be 1228
        "3d_fullres": ((40, 56, 40), 9, (3, 3, 3)),
    },
    ("nnunet-2018", "BraTS"): {
        "2d": ((192, 160), 89, (5, 5)),  # 42 * 256^2 / 30720 = 89.6
        "3d_fullres": ((128, 128, 128), 2, (5, 5, 5)),  # from 160x192x160
    },
    ("nnunet-2018", "Iso05"): {
        "2d": ((256, 256), 42, (5, 5)),
        "3d_lowres": ((128, 128, 128), 2, (5, 5, 5)),  # 600 at 0.5 mm are 150 at 2 mm, 160 in steps of 32
        "3d_fullres": ((128, 128, 128), 2, (5, 5, 5)),
        "3d_cascade_fullres": ((128, 128, 128), 2, (5, 5, 5)),
    },
    ("nnunet-2018", "Prostate"): {
        "2d": ((256, 256), 42, (5, 5)),
        "3d_fullres": (
            (20, 320, 320),
            2,
            (2, 5, 5),
        ),  # 2048000 voxels fit as they are; 2 * 1.024, rounded down
    },
    ("nnunet-2021", "Hippo"): {
        "2d": ((56, 40), 366, (3, 3)),  # a twentieth of the data, as in nnunet
        "3d_fullres": ((40, 56, 40), 9, (3, 3, 3)),
    },
    ("nnunet-2021", "BraTS"): {
        "2d": ((192, 160), 108, (5, 5)),
        "3d_fullres": ((128, 128, 128), 2, (5, 5, 5)),
    },
}


@pytest.mark.parametrize(("recipe", "fingerprint"), BY_HAND)
def test_earlier_versions_by_hand(recipe, fingerprint):
    found = plan_of(fingerprint, recipe_named(recipe).planning).configurations
    assert {c.architecture.features[-1] for c in found.values() if c.architecture.n_stages > 5} <= {320, 480}
    assert BY_HAND[recipe, fingerprint] == {
        name: (c.patch_shape, c.batch_size, tuple(np.log2(np.prod(c.architecture.strides, axis=0))))
        for name, c in found.items()
    }
    narrowest = 30 if recipe == "nnunet-2018" else 32
    assert {c.architecture.features[:3] for c in found.values()} == {
        (narrowest, 2 * narrowest, 4 * narrowest)
    }
    if "3d_lowres" in found:
        assert found["3d_lowres"].spacing_mm == (2.0, 2.0, 2.0)


@pytest.mark.parametrize("fingerprint", [vector["name"] for vector in VECTORS])
def test_limits_of_nnunet_2018(fingerprint):
    """Patches and batches that its paper says to fit, at most five poolings, none below 4 voxels; 30 features."""
    for found in plan_of(fingerprint, recipe_named("nnunet-2018").planning).configurations.values():
        voxels, batch = (128**3, 2) if found.dimensions == 3 else (256**2, 42)
        assert np.prod(found.patch_shape) <= voxels
        assert found.batch_size <= max(2, voxels * batch // np.prod(found.patch_shape))
        poolings = np.prod(found.architecture.strides, axis=0)
        assert max(poolings) <= 2**5
        assert all(edge // n >= 4 for edge, n in zip(found.patch_shape, poolings, strict=True) if n > 1)
        assert found.architecture.features[0] == 30
        assert max(found.architecture.features) <= (320 if found.dimensions == 3 else 480)


#: What nnU-Net v1 printed of its plans (plans_per_stage; all of version 2.1), in public repositories: spacing, median
#: shape, labels with background; patch, strides, kernels of stages other than 3 x 3 x 3. All batches are of 2.
FIRST_GENERATION = {
    # MIC-DKFZ/nnUNet, the comments of its conversion of the COVID-19-20 challenge
    "Task115": (
        (5.0, 0.74199998, 0.74199998), (62, 512, 512), 2,
        (28, 256, 256), ["111", "122", "122", "222", "222", "122", "122"], ["133", "133"],
    ),
    # the log of a training with nnUNetTrainerV2
    "BraTS2020": ((1.0, 1.0, 1.0), (139, 170, 138), 4, (128, 128, 128), ["111", *["222"] * 5], []),
    # notes on the code, with the plan of the Medical Segmentation Decathlon's pancreas
    "Task007": (
        (2.5, 0.80273402, 0.80273402), (96, 512, 512), 3,
        (40, 224, 224), ["111", "122", "222", "222", "222", "122"], ["133"],
    ),
    # the comments of a trainer of 97 classes; the last pooling is along a single axis of 8 voxels
    "Brain97": (
        (0.93699998, 0.93699998, 0.93699998), (160, 198, 180), 97,
        (112, 128, 112), ["111", *["222"] * 4, "121"], [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIRST_GENERATION)
def test_nnunet_2021_plans_as_the_first_generation_did(name):
    spacing_mm, shape, n_outputs, patch, strides, kernels = FIRST_GENERATION[name]
    dataset = replace(SAMPLE, n_outputs=n_outputs)
    plan = make_plan(fingerprint_of([(spacing_mm, shape)]), dataset, recipe_named("nnunet-2021").planning)
    full = plan.configurations["3d_fullres"]
    assert (full.patch_shape, full.batch_size) == (patch, 2)
    written = ["".join(map(str, stride)) for stride in full.architecture.strides]
    assert written == strides
    thick = ["333"] * (len(strides) - len(kernels))
    assert ["".join(map(str, kernel)) for kernel in full.architecture.kernels] == [*kernels, *thick]


def test_flare21_plans_the_network_of_its_paper():
    """A CT data set of abdomens: LungLike has similar spacings and sizes."""
    low = plan_of("LungLike", recipe_named("flare21").planning).configurations["3d_lowres"]
    assert (low.patch_shape, low.batch_size, low.normalization) == ((80, 192, 160), 2, ("ct",))
    network = low.architecture
    assert ["".join(map(str, stride)) for stride in network.strides] == ["111", *["222"] * 4, "122"]
    assert network.features == (32, 64, 128, 256, 320, 320)
    assert (network.n_outputs, network.norm_affine, network.head_bias, network.upsampling_bias) == (
        3, False, False, False,
    )  # fmt: skip


def test_low_resolution_of_nnunet_2021():
    """The first of the steps of 1 % at which a patch covers a quarter of the median image; nnunet's are of 3 %."""
    plan = plan_of("Iso05", recipe_named("nnunet-2021").planning)
    low = plan.configurations["3d_lowres"]
    steps = np.log(low.spacing_mm[0] / 0.5) / np.log(1.01)
    assert steps == pytest.approx(round(steps))
    assert low.patch_shape == (128, 128, 128)
    edge = 600 * 0.5 / low.spacing_mm[0]
    assert 128**3 / edge**3 >= 0.25 > 128**3 / (edge * 1.01) ** 3
    assert low.spacing_mm[0] < plan_of("Iso05").configurations["3d_lowres"].spacing_mm[0]


@pytest.mark.parametrize("resample_first", [False, True])
def test_the_order_of_preparation_is_part_of_every_configuration(resample_first):
    plan = plan_of("Liver", RECIPE.model_copy(update={"resample_first": resample_first}))
    assert {c.resample_first for c in plan.configurations.values()} == {resample_first}
    assert {plan.preparation(name).resample_first for name in plan.configurations} == {resample_first}


def test_what_a_recipe_gives_of_preparation_and_networks_is_in_every_configuration():
    given = {
        "normalization": "ct", "label_interpolation": "nearest", "separate_z": False,
        "norm_affine": False, "upsampling_bias": False, "head_bias": False, "heads": 3,
    }  # fmt: skip
    recipe = RECIPE.model_copy(update={**given, "data_name": "other"})
    for name, found in plan_of("Liver", recipe).configurations.items():
        assert found.normalization == ("ct",)
        assert (found.label_interpolation, found.separate_z) == ("nearest", False)
        network = found.architecture
        assert (network.norm_affine, network.upsampling_bias, network.head_bias) == (False,) * 3
        assert network.n_outputs == 3
        assert found.data_identifier.startswith("nnUNetPlans_")  # not shared
        assert plan_of("Liver", recipe).preparation(name).label_interpolation == "nearest"


def test_a_given_patch_of_3d_configurations():
    given = RECIPE.model_copy(update={"patch_3d": (60, 192, 160)})
    found, free = plan_of("LungLike", given).configurations, plan_of("LungLike").configurations
    assert found["2d"] == free["2d"]
    patches = {name: c.patch_shape for name, c in found.items() if name != "2d"}
    assert patches == dict.fromkeys(("3d_lowres", "3d_fullres", "3d_cascade_fullres"), (64, 192, 160))
    low = found["3d_lowres"]
    cover = np.prod(low.patch_shape) / np.prod(low.median_shape)
    assert cover == pytest.approx(0.25, rel=0.02)  # the median is rounded, and a step of the spacing is 3 %
    small = plan_of("LungLike", RECIPE.model_copy(update={"patch_3d": (16, 16, 16)}))
    assert small.configurations["3d_fullres"].batch_size > 100  # what the memory holds


def test_normalisation_by_channel_name():
    names = ["CT", "ct", "CT_contrast", "noNorm", "zscore", "rescale_to_0_1", "RGB_to_0_1", "T1"]
    schemes = ("ct", "ct", "zscore", "none", "zscore", "rescale_0_1", "rgb_0_1", "zscore")
    assert normalizations(names) == schemes
    assert normalizations(names, given="ct") == ("ct",) * 8


@pytest.mark.parametrize(("relative_size", "masked"), [(0.7499, True), (0.75, False), (1.0, False)])
def test_mask_only_after_a_large_crop_and_for_zscore(relative_size, masked):
    assert mask_normalization(["zscore", "ct", "none"], relative_size) == (masked, False, False)


FLAT = fingerprint_of([((999, 1, 1), (1, 64, 64)), ((999, 1, 1), (1, 70, 60))])
DEEP = fingerprint_of([((999, 1, 1), (1, 64, 64)), ((1, 1, 1), (9, 64, 64))])


@pytest.mark.parametrize(
    ("ending", "fingerprint", "wanted", "name"),
    [
        (".png", FLAT, None, "NaturalImage2DIO"),
        (".BMP", FLAT, None, "NaturalImage2DIO"),
        (".tif", FLAT, None, "NaturalImage2DIO"),
        (".tif", DEEP, None, "Tiff3DIO"),
        (".tiff", FLAT, None, "Tiff3DIO"),
        (".nii", DEEP, None, "NibabelIO"),
        *((ending, DEEP, None, "SimpleITKIO") for ending in (".nii.gz", ".nrrd", ".mha", ".gipl", ".mhd")),
        (".png", FLAT, "NibabelIOWithReorient", "NibabelIOWithReorient"),
        (".png", FLAT, "None", "NaturalImage2DIO"),
        (".png", FLAT, "MyOwnReader", "NaturalImage2DIO"),
    ],
)
def test_reader_of_nnunet(ending, fingerprint, wanted, name):
    assert reader_name(ending, fingerprint, wanted=wanted) == name
