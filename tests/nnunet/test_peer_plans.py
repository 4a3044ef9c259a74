"""What a plans.json may say: edited plans, other styles, and what is refused."""

from __future__ import annotations

import copy

import pytest
from case_samples import INTENSITIES

from segflow.contracts.errors import PlanError
from segflow.contracts.fingerprint import Fingerprint
from segflow.network.unet import build_network
from segflow.nnunet.plans import plan_from_json, plan_to_json
from segflow.planning.plan import PlanInput, make_plan
from segflow.recipes.recipe import recipe_named

ARGUMENTS = ["configurations", "3d_fullres", "architecture", "arch_kwargs"]
FULL = ["configurations", "3d_fullres"]


def plan_with_a_cascade(recipe="nnunet"):
    fingerprint = Fingerprint(
        foreground_intensity_properties_per_channel={"0": INTENSITIES, "1": INTENSITIES},
        median_relative_size_after_cropping=0.5,
        shapes_after_crop=((432, 512, 512),),
        spacings=((1.0, 0.75, 0.75),),
    )
    dataset = PlanInput(name="Sample", channel_names=("CT", "T1"), n_cases=40, n_outputs=3)
    return make_plan(fingerprint, dataset, recipe_named(recipe).planning)


@pytest.fixture
def data():
    return plan_to_json(plan_with_a_cascade())


def understood(data):
    return plan_from_json(data, where="plans.json")


def test_the_sample(data):
    full = understood(data).configurations["3d_fullres"]
    assert full.patch_shape == (128, 128, 128)
    assert full.architecture.n_stages == 6


# Edited by hand.


def test_children_win_over_parents(data):
    data["configurations"]["small"] = {"inherits_from": "3d_fullres", "batch_size": 7}
    data["configurations"]["smaller"] = {"inherits_from": "small", "patch_size": [64, 32, 96]}
    found = understood(data).configurations
    assert found["smaller"].batch_size == 7
    assert found["smaller"].patch_shape == (64, 32, 96)
    assert found["smaller"].spacing_mm == found["3d_fullres"].spacing_mm
    assert found["smaller"].name == "smaller"
    assert found["3d_fullres"].batch_size != 7


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ({"a": {"inherits_from": "b"}, "b": {"inherits_from": "a"}}, "in a circle: a -> b -> a"),
        ({"a": {"inherits_from": "a"}}, "in a circle: a -> a"),
        ({"a": {"inherits_from": "nothing"}}, "a inherits from nothing, which does not exist"),
        ({"a": {"inherits_from": ["2d"]}}, "which does not exist"),
        ({"a": 3}, "configuration a must be a JSON object"),
        ({"a/b": {"inherits_from": "2d"}}, "configuration 'a/b': a name must be of letters, digits"),
        ({"a+b": {"inherits_from": "2d"}}, "configuration 'a\\+b': a name must be of letters, digits"),
        ({"": {"inherits_from": "2d"}}, "configuration '': a name must be of letters, digits"),
        ({"..": {"inherits_from": "2d"}}, r"configuration '\.\.': a name must be of letters, digits"),
        ({"2d\n": {"inherits_from": "2d"}}, "a name must be of letters, digits"),
    ],
)
def test_wrong_inheritance_and_names(added, message, data):
    data["configurations"] |= added
    with pytest.raises(PlanError, match=rf"^plans\.json: .*{message}"):
        understood(data)


@pytest.mark.parametrize("name", ["3d_fullres_bs4", "3d-fine.2", "A"])
def test_names_that_may_be_given(name, data):
    data["configurations"][name] = {"inherits_from": "3d_fullres"}
    assert understood(data).configurations[name].name == name


@pytest.mark.parametrize("given", ["3d_lowres", ["3d_lowres"]])
def test_stages_are_a_name_or_a_list(given, data):
    data["configurations"]["3d_cascade_fullres"]["previous_stage"] = given
    data["configurations"]["3d_lowres"]["next_stage"] = ["3d_cascade_fullres"]
    found = understood(data)
    assert found == plan_with_a_cascade()
    data["configurations"]["3d_lowres"]["next_stage"] = ["3d_cascade_fullres", "2d"]
    several = understood(data)
    assert several.configurations["3d_lowres"].next_stage == ("3d_cascade_fullres", "2d")
    assert understood(plan_to_json(several)) == several


def change(data, path, value):
    data = copy.deepcopy(data)
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            [*FULL, "patch_size"],
            [128, 100, 128],
            "configuration 3d_fullres: patch_size 100 of axis 1 is not divisible by 32, the product of its "
            "strides; the nearest sizes are 96 and 128",
        ),
        ([*FULL, "patch_size"], [128, 128, 20], "patch_size 20 of axis 2 .* the nearest sizes are 32$"),
        ([*FULL, "patch_size"], [128, 128], "spacing has 3 entries, but patch_size has 2"),
        ([*FULL, "patch_size"], [0, 128, 128], r"'configurations\.3d_fullres\.patch_size\.0'"),
        ([*FULL, "batch_size"], 0, r"'configurations\.3d_fullres\.batch_size'"),
        ([*FULL, "batch_size"], "many", r"'configurations\.3d_fullres\.batch_size': .* \(found 'many'\)"),
        ([*FULL, "spacing"], [1, 0, 1], r"'configurations\.3d_fullres\.spacing\.1'"),
        ([*FULL, "spacing"], [1, 1], "spacing has 2 entries, but patch_size has 3"),
        ([*FULL, "use_mask_for_norm"], [False], "must have an entry per channel"),
        ([*ARGUMENTS, "features_per_stage"], [32, 64], "features_per_stage has 2 entries, but n_stages is 6"),
        ([*ARGUMENTS, "strides"], [[1, 1, 1], [2, 2, 2]], "strides has 2 entries, but n_stages is 6"),
        ([*ARGUMENTS, "kernel_sizes"], [[3, 3, 3]], "kernel_sizes has 1 entries, but n_stages is 6"),
        (
            [*ARGUMENTS, "kernel_sizes"],
            [[3, 3]] * 6,
            "a stage of kernel_sizes has 2 entries, but patch_size has 3",
        ),
        ([*ARGUMENTS, "kernel_sizes"], [[2, 3, 3]] * 6, "kernel_sizes must be odd"),
        ([*ARGUMENTS, "strides"], [[2, 2, 2]] * 6, "the first of strides must be 1"),
        ([*ARGUMENTS, "n_stages"], 5, "features_per_stage has 6 entries, but n_stages is 5"),
        ([*ARGUMENTS, "n_conv_per_stage"], [2, 2], "n_conv_per_stage has 2 entries, but n_stages is 6"),
        ([*ARGUMENTS, "n_conv_per_stage"], None, "n_conv_per_stage has 0 entries, but n_stages is 6"),
        (
            [*ARGUMENTS, "n_conv_per_stage_decoder"],
            [2] * 6,
            "n_conv_per_stage_decoder has 6 entries, but it must",
        ),
        (
            [*ARGUMENTS, "conv_op"],
            "torch.nn.modules.conv.Conv2d",
            "conv_op is .*2d, but patch_size has 3 entries",
        ),
        (["configurations", "3d_lowres", "next_stage"], "none", "its stage none is not a configuration"),
        (["configurations", "3d_cascade_fullres", "previous_stage"], ["2d", "3d_lowres"], "previous_stage'"),
        (["transpose_backward"], [1, 2, 0], "transpose_forward and transpose_backward must undo each other"),
        (["transpose_forward"], [0, 0, 1], "must undo each other"),
        (["transpose_forward"], [0, 1], r"'transpose_forward\.2': Field required"),
        (["transpose_forward"], None, "'transpose_forward': Field required"),
        ([*FULL, "architecture"], None, r"'configurations\.3d_fullres\.architecture': Field required"),
        (["foreground_intensity_properties_per_channel", "1"], None, "has 2 entries, but .* has 1 channels"),
    ],
)
def test_what_does_not_fit_together(path, value, message, data):
    with pytest.raises(PlanError, match=rf"^plans\.json: .*{message}"):
        understood(change(data, path, value))


# What segflow does not have.


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            [*FULL, "normalization_schemes"],
            ["Own", "Own"],
            r"normalization_schemes\.0': segflow has \"ZScore",
        ),
        (
            [*FULL, "preprocessor_name"],
            "MyPreprocessor",
            r'preprocessor_name.: segflow has "Def.* only .found',
        ),
        ([*FULL, "resampling_fn_data"], "no_resampling_data_or_seg_to_shape", "resampling_fn_data'"),
        ([*FULL, "resampling_fn_probabilities"], "resample_torch_fornnunet", "resampling_fn_probabilities'"),
        ([*FULL, "resampling_fn_data_kwargs", "order"], 1, "resampling_fn_data_kwargs': segflow has "),
        ([*FULL, "resampling_fn_seg_kwargs", "force_separate_z"], True, "resampling_fn_seg_kwargs'"),
        ([*ARGUMENTS, "nonlin"], "torch.nn.ReLU", r"nonlin': segflow has \"torch\.nn\.LeakyReLU\" only"),
        ([*ARGUMENTS, "nonlin_kwargs"], {"inplace": True, "negative_slope": 0.2}, "nonlin_kwargs'"),
        ([*ARGUMENTS, "dropout_op"], "torch.nn.Dropout3d", "dropout_op': segflow has null only"),
        ([*ARGUMENTS, "norm_op"], "torch.nn.modules.batchnorm.BatchNorm3d", "norm_op': segflow has "),
        ([*ARGUMENTS, "norm_op_kwargs"], {"eps": 1e-3, "affine": True}, "norm_op_kwargs'"),
        ([*ARGUMENTS, "conv_bias"], False, "conv_bias': segflow has true only"),
        ([*ARGUMENTS, "stem_channels"], 8, r"unknown key 'configurations\.3d_fullres\..*\.stem_channels'"),
        ([*FULL, "architecture", "network_class_name"], "my.Net", "network_class_name': segflow has "),
        (
            [*FULL, "bach_size"],
            4,
            r"unknown key 'configurations\.3d_fullres\.bach_size': did you mean 'batch_size'",
        ),
        (["label_manager"], "MyLabels", r"'label_manager': segflow has \"LabelManager\" only"),
        (["my_notes"], "x", "unknown key 'my_notes'"),
    ],
)
def test_what_is_unknown_is_refused_by_name(path, value, message, data):
    with pytest.raises(PlanError, match=rf"^plans\.json: .*{message}"):
        understood(change(data, path, value))


@pytest.mark.parametrize("data", [[], None, "text", {}, {"configurations": []}])
def test_no_plan_at_all(data):
    with pytest.raises(PlanError, match=r"^plans\.json: not a plan this version understands"):
        understood(data)


def test_a_plan_without_configurations(data):
    with pytest.raises(PlanError, match=r"^plans\.json: 'configurations'"):
        understood(data | {"configurations": {}})


# Before release 2.5.

NETWORKS = {"nnunet": "PlainConvUNet", "resenc": "ResidualEncoderUNet"}


def old_style(plan, class_name):
    """A plan as releases before 2.5 wrote it."""
    data = plan_to_json(plan)
    for entry in data["configurations"].values():
        if "architecture" not in entry:
            continue
        arguments = entry.pop("architecture")["arch_kwargs"]
        blocks = arguments.get("n_conv_per_stage") or arguments.get("n_blocks_per_stage")
        entry |= {
            "UNet_class_name": class_name,
            "UNet_base_num_features": arguments["features_per_stage"][0],
            "unet_max_num_features": 512 if len(entry["patch_size"]) == 2 else 320,
            "n_conv_per_stage_encoder": blocks,
            "n_conv_per_stage_decoder": arguments["n_conv_per_stage_decoder"],
            "num_pool_per_axis": [len(arguments["strides"]) - 1] * len(entry["patch_size"]),
            "pool_op_kernel_sizes": arguments["strides"],
            "conv_kernel_sizes": arguments["kernel_sizes"],
        }
    return data


@pytest.mark.parametrize("recipe", NETWORKS)
def test_the_old_style_means_the_same(recipe):
    plan = plan_with_a_cascade(recipe)
    data = old_style(plan, NETWORKS[recipe])
    assert "architecture" not in str(data)
    assert understood(data) == plan
    narrow = plan.configurations["2d"].architecture.model_copy(update={"features": (2,) * 8})
    build_network(narrow, input_channels=2, output_channels=3)


def test_an_old_plan_can_be_inherited_from():
    data = old_style(plan_with_a_cascade(), "PlainConvUNet")
    data["configurations"]["wide"] = {"inherits_from": "3d_fullres", "UNet_base_num_features": 48}
    assert understood(data).configurations["wide"].architecture.features == (48, 96, 192, 320, 320, 320)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "UNet_class_name",
            "UMamba",
            "3d_fullres: 'UNet_class_name' is 'UMamba'; segflow has PlainConvUNet and",
        ),
        ("conv_kernel_sizes", None, "3d_fullres lacks 'conv_kernel_sizes'"),
        ("pool_op_kernel_sizes", 3, "3d_fullres: .* do not describe a network"),
        ("pool_op_kernel_sizes", [], "3d_fullres: .* do not describe a network"),
        ("UNet_base_num_features", "many", "3d_fullres: .* do not describe a network"),
        ("conv_kernel_sizes", [[3, 3, 3]], "3d_fullres: kernel_sizes has 1 entries, but n_stages is 6"),
        ("dropout", 0.5, r"unknown key 'configurations\.3d_fullres\.dropout'"),
    ],
)
def test_an_old_plan_that_is_wrong(key, value, message):
    data = old_style(plan_with_a_cascade(), "PlainConvUNet")
    del data["configurations"]["3d_cascade_fullres"], data["configurations"]["3d_lowres"]
    with pytest.raises(PlanError, match=rf"^plans\.json: .*{message}"):
        understood(change(data, [*FULL, key], value))
