"""plans.json: written for nnU-Net, read again in either format, edited by hand, and refused."""

from __future__ import annotations

import copy
import json

import pytest
from case_samples import configuration_of
from fingerprint_samples import CASCADE, SINGLE, sample_plan

from segflow.contracts.errors import PlanError
from segflow.contracts.plan import Configuration
from segflow.network.unet import build_network
from segflow.nnunet.plans import custom_configurations, plan_from_json, plan_to_json, read_plan, write_plan
from segflow.storage.files import write_json
from segflow.workflow.code import closure

RESIDUAL = {"encoder": "residual", "encoder_blocks": (1, 3, 4, 6), "decoder_blocks": 1}
BARE = {"norm_affine": False, "upsampling_bias": False, "head_bias": False, "heads": 3}
RESAMPLED = {"label_interpolation": "nearest", "separate_z": False}
FULL = ("configurations", "3d_fullres")
ARCHITECTURE = (*FULL, "architecture")
ARGUMENTS = (*ARCHITECTURE, "arch_kwargs")


def understood(data):
    return plan_from_json(data, where="plans.json")


def refused(data, message):
    with pytest.raises(PlanError, match=rf"^plans\.json: .*{message}"):
        understood(data)


@pytest.fixture
def data():
    """The content of a plans.json with a cascade."""
    return plan_to_json(sample_plan(CASCADE))


def change(data, path, value):
    """A copy with another value at a path of keys, or without the key if None."""
    data = copy.deepcopy(data)
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    if value is None:
        del place[path[-1]]
    return data


# Written, and read again.


@pytest.mark.parametrize("fingerprint", [SINGLE, CASCADE], ids=["single", "cascade"])
@pytest.mark.parametrize("recipe", [{}, RESIDUAL, {"resample_first": True}, BARE, RESAMPLED], ids=str)
def test_round_trip(fingerprint, recipe, tmp_path):
    named = {"planner": "MyPlanner", "image_reader_writer": "MyReader"}
    plan = sample_plan(fingerprint, **recipe).model_copy(update=named)
    write_plan(tmp_path / "plans.json", plan)
    assert read_plan(tmp_path / "plans.json") == plan


def test_written_as_nnunet_does(data):
    found = data["configurations"]
    assert list(found) == ["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]
    assert found["3d_cascade_fullres"] == {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    assert found["3d_lowres"]["next_stage"] == "3d_cascade_fullres"
    flat = found["2d"]
    assert flat["preprocessor_name"] == "DefaultPreprocessor"
    assert flat["normalization_schemes"] == ["CTNormalization", "ZScoreNormalization"]
    assert flat["use_mask_for_norm"] == [False, True]
    assert flat["architecture"]["arch_kwargs"]["conv_op"] == "torch.nn.modules.conv.Conv2d"
    labels = {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None}
    assert found["3d_fullres"]["resampling_fn_seg_kwargs"] == labels
    others = plan_to_json(sample_plan(**RESAMPLED, resample_first=True))["configurations"]["3d_fullres"]
    assert others["preprocessor_name"] == "ResampleFirstPreprocessor"  # which nnU-Net refuses
    arguments = [others[f"resampling_fn_{name}_kwargs"] for name in ("data", "seg", "probabilities")]
    assert [one["order"] for one in arguments] == [3, 0, 1]
    assert [one["force_separate_z"] for one in arguments] == [False] * 3
    assert not {"label_interpolation", "separate_z"} & others.keys()


def test_nnunet_refuses_the_keys_of_networks_that_it_does_not_have():
    """They are arguments that its classes do not take, and missing where its own network is meant."""
    entries = [plan_to_json(sample_plan(**recipe))["configurations"]["2d"] for recipe in ({}, BARE)]
    own, bare = (entry["architecture"]["arch_kwargs"] for entry in entries)
    added = {key: bare[key] for key in bare.keys() - own.keys()}
    assert added == {"upsampling_bias": False, "head_bias": False, "n_heads": 3}
    assert bare["norm_op_kwargs"] == {"eps": 1e-5, "affine": False}  # this one nnU-Net has


@pytest.mark.data
def test_published_plans_are_the_same_when_written_again(shared):
    files = sorted((shared / "reference" / "plans").glob("*/*lans.json"))
    assert len(files) == 10
    for file in files:
        plan, expected = read_plan(file), json.loads(file.read_text())
        written = plan_to_json(plan)
        assert understood(written) == plan
        if "UNet_class_name" not in str(expected):
            assert written == expected


def test_a_configuration_can_be_read_by_the_names_of_its_fields():
    """As weights files of earlier releases have it."""
    configuration = configuration_of(normalization=("ct", "zscore"))
    fields = {name: getattr(configuration, name) for name in Configuration.model_fields}
    fields["architecture"] = dict(configuration.architecture)
    assert Configuration.model_validate(fields) == configuration


def test_training_does_not_depend_on_the_format_of_plans():
    """Otherwise a change of the format would repeat all training."""
    assert "segflow.nnunet.plans" in closure("segflow.commands.plan")
    assert "segflow.nnunet.plans" not in closure("segflow.commands.train")


# Edited by hand.


def test_children_win_over_parents(data):
    data["configurations"]["small"] = {"inherits_from": "3d_fullres", "batch_size": 7}
    data["configurations"]["3d-fine.2"] = {"inherits_from": "small", "patch_size": [64, 32, 96]}
    found = understood(data).configurations
    changes = {"name": "3d-fine.2", "batch_size": 7, "patch_shape": (64, 32, 96)}
    assert found["3d-fine.2"] == found["3d_fullres"].model_copy(update=changes)
    assert found["3d_fullres"].batch_size != 7


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ({"a": {"inherits_from": "b"}, "b": {"inherits_from": "a"}}, "in a circle: a -> b -> a"),
        ({"a": {"inherits_from": "a"}}, "in a circle: a -> a"),
        ({"a": {"inherits_from": "nothing"}}, "a inherits from nothing, which does not exist"),
        ({"a": {"inherits_from": ["2d"]}}, "which does not exist"),
        ({"a": 3}, "configuration a must be a JSON object"),
        *(
            ({name: {"inherits_from": "2d"}}, "a name must be of letters, digits")
            for name in ("a/b", "a+b", "", "..", "2d\n")
        ),
    ],
)
def test_wrong_inheritance_and_names(added, message, data):
    data["configurations"] |= added
    refused(data, message)


@pytest.mark.parametrize("given", ["3d_lowres", ["3d_lowres"]])
def test_stages_are_a_name_or_a_list(given, data):
    data["configurations"]["3d_cascade_fullres"]["previous_stage"] = given
    low = data["configurations"]["3d_lowres"]
    low["next_stage"] = ["3d_cascade_fullres"]
    assert understood(data) == sample_plan(CASCADE)
    low["next_stage"] = ["3d_cascade_fullres", "2d"]
    several = understood(data)
    assert several.configurations["3d_lowres"].next_stage == ("3d_cascade_fullres", "2d")
    assert understood(plan_to_json(several)) == several


def test_an_edited_cascade_is_not_lost(data):
    data["configurations"]["3d_cascade_fullres"]["batch_size"] = 7
    plan = understood(data)
    assert plan.configurations["3d_cascade_fullres"].batch_size == 7
    assert plan_to_json(plan) == data


def test_a_cascade_without_a_key_of_its_parent_is_written_in_full(data):
    full, cascade = data["configurations"]["3d_fullres"], data["configurations"]["3d_cascade_fullres"]
    cascade |= {key: value for key, value in full.items() if key not in cascade}
    del cascade["inherits_from"]
    full["next_stage"] = "2d"
    plan = understood(data)
    assert plan.configurations["3d_cascade_fullres"].next_stage is None
    assert understood(plan_to_json(plan)) == plan


@pytest.fixture
def edited(tmp_path):
    """A plans.json to which somebody has added configurations."""
    data = plan_to_json(sample_plan())
    data["configurations"] |= {
        "small": {"inherits_from": "3d_fullres", "batch_size": 7},
        "smaller": {"inherits_from": "small", "patch_size": [4, 64, 64]},
    }
    write_json(tmp_path / "plans.json", data)
    return tmp_path / "plans.json"


def test_custom_configurations_survive_a_new_plan(edited):
    finer = sample_plan(spacing_mm=(0.8, 3.0, 0.8))
    written = write_plan(edited, finer, custom=custom_configurations(edited))
    assert read_plan(edited) == written
    assert list(written.configurations) == ["2d", "3d_fullres", "small", "smaller"]
    small = written.configurations["small"]
    assert (small.batch_size, small.spacing_mm) == (7, (3.0, 0.8, 0.8))  # what it inherits is new
    assert written.configurations["2d"] == finer.configurations["2d"]


def test_a_custom_configuration_that_does_not_fit_the_new_plan(edited):
    before = edited.read_text()
    with pytest.raises(PlanError, match=r"small inherits from 3d_lowres, which does not exist"):
        write_plan(edited, sample_plan(), custom={"small": {"inherits_from": "3d_lowres"}})
    assert edited.read_text() == before


@pytest.mark.parametrize("content", [[], {}, {"configurations": ["2d"]}, "text"])
def test_a_file_that_is_no_plan_is_not_overwritten(content, tmp_path):
    file = tmp_path / "plans.json"
    assert custom_configurations(file) == {}
    write_json(file, content)
    with pytest.raises(PlanError, match=r"plans\.json exists and is not a plan; remove it"):
        custom_configurations(file)


# Refused.


@pytest.mark.parametrize("content", [[], None, "text", {}, {"configurations": []}])
def test_no_plan_at_all(content):
    refused(content, "not a plan this version understands")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            (*FULL, "patch_size"),
            [128, 100, 128],
            "configuration 3d_fullres: patch_size 100 of axis 1 is not divisible by 32, the product of its strides; "
            "the nearest sizes are 96 and 128",
        ),
        ((*FULL, "patch_size"), [128, 128, 20], "patch_size 20 of axis 2 .* the nearest sizes are 32$"),
        ((*FULL, "patch_size"), [128, 128], "spacing has 3 entries, but patch_size has 2"),
        ((*FULL, "patch_size"), [0, 128, 128], r"'configurations\.3d_fullres\.patch_size\.0'"),
        ((*FULL, "batch_size"), "many", r"'configurations\.3d_fullres\.batch_size': .* \(found 'many'\)"),
        ((*FULL, "spacing"), [1, 0, 1], r"'configurations\.3d_fullres\.spacing\.1'"),
        ((*FULL, "use_mask_for_norm"), [False], "use_mask_for_norm has 1 .* normalization_schemes has 2"),
        (
            (*ARGUMENTS, "features_per_stage"),
            [32, 64],
            "3d_fullres: features_per_stage has 2 .*strides has 6",
        ),
        ((*ARGUMENTS, "kernel_sizes"), [[3, 3, 3]], "kernel_sizes has 1 entries, but strides has 6"),
        ((*ARGUMENTS, "kernel_sizes"), [[3, 3]] * 6, "stage 0 of kernel_sizes has 2 entries, but patch_size"),
        ((*ARGUMENTS, "kernel_sizes"), [[2, 3, 3]] * 6, "kernel_sizes must be odd"),
        ((*ARGUMENTS, "strides"), [[2, 2, 2]] * 6, "the first of strides must be 1"),
        ((*ARGUMENTS, "n_stages"), 5, r"3d_fullres\.architecture\.arch_kwargs\.n_stages': .* 6 .*found 5"),
        ((*ARGUMENTS, "n_conv_per_stage"), [2, 2], "n_conv_per_stage has 2 entries, but strides has 6"),
        ((*ARGUMENTS, "n_conv_per_stage"), None, r"arch_kwargs\.n_conv_per_stage': Field required"),
        ((*ARGUMENTS, "n_conv_per_stage_decoder"), [2] * 6, "n_conv_per_stage_decoder has 6 .* one fewer"),
        ((*ARGUMENTS, "conv_op"), "torch.nn.modules.conv.Conv2d", "conv_op': segflow has .*Conv3d.*Conv2d"),
        (("configurations", "3d_lowres", "next_stage"), "none", "its stage none is not a configuration"),
        (("configurations", "3d_cascade_fullres", "previous_stage"), ["2d", "3d_lowres"], "previous_stage'"),
        (("transpose_backward",), [1, 2, 0], "transpose_forward and transpose_backward must undo each other"),
        (("transpose_forward",), [0, 0, 1], "must undo each other"),
        (("transpose_forward",), [0, 1], r"'transpose_forward\.2': Field required"),
        (("configurations",), {}, "'configurations'"),
        ((*FULL, "architecture"), None, r"'configurations\.3d_fullres\.architecture': Field required"),
        (("foreground_intensity_properties_per_channel", "1"), None, "has 2 entries, but .* has 1 channels"),
    ],
)
def test_what_does_not_fit_together(path, value, message, data):
    refused(change(data, path, value), message)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((*FULL, "normalization_schemes"), ["Own"] * 2, r'normalization_schemes\.0\': segflow has "ZScore'),
        ((*FULL, "preprocessor_name"), "Own", r'preprocessor_name.: segflow has "Def.* only .found'),
        ((*FULL, "resampling_fn_data"), "no_resampling_data_or_seg_to_shape", "resampling_fn_data'"),
        ((*FULL, "resampling_fn_data_kwargs", "order"), 1, r"data_kwargs\.order': segflow has 3 only"),
        ((*FULL, "resampling_fn_seg_kwargs", "force_separate_z"), True, "separate_z': segflow has null only"),
        ((*FULL, "resampling_fn_data_kwargs", "force_separate_z"), False, r"seg_kwargs\.force_separate_z'"),
        ((*FULL, "resampling_fn_seg_kwargs", "order"), 2, r"seg_kwargs\.order': segflow has 1 only"),
        ((*FULL, "label_interpolation"), "nearest", "unknown key '.*label_interpolation'"),
        ((*ARGUMENTS, "n_heads"), 0, "n_heads"),
        ((*FULL, "resampling_fn_seg_kwargs"), None, "resampling_fn_seg_kwargs': Field required"),
        ((*ARGUMENTS, "nonlin"), "torch.nn.ReLU", r'nonlin\': segflow has "torch\.nn\.LeakyReLU" only'),
        ((*ARGUMENTS, "nonlin_kwargs", "negative_slope"), 0.2, r"key '.*\.nonlin_kwargs\.negative_slope'"),
        ((*ARGUMENTS, "dropout_op"), "torch.nn.Dropout3d", "dropout_op': segflow has null only"),
        ((*ARGUMENTS, "norm_op"), "torch.nn.modules.batchnorm.BatchNorm3d", "norm_op': segflow has "),
        ((*ARGUMENTS, "norm_op_kwargs", "eps"), 1e-3, r"norm_op_kwargs\.eps': segflow has 1e-05 only"),
        ((*ARGUMENTS, "conv_bias"), False, "conv_bias': segflow has true only"),
        ((*ARGUMENTS, "stem_channels"), 8, r"unknown key 'configurations\.3d_fullres\..*\.stem_channels'"),
        ((*ARGUMENTS, "stride"), 8, r"unknown key 'configurations\..*\.stride': did you mean 'strides'"),
        ((*ARCHITECTURE, "network_class_name"), "my.Net", "network_class_name': segflow has "),
        ((*FULL, "bach_size"), 4, r"unknown key '.*3d_fullres\.bach_size': did you mean 'batch_size'"),
        ((*FULL, "patch_shape"), [8, 8, 8], r"unknown key 'configurations\.3d_fullres\.patch_shape'"),
        (("label_manager",), "MyLabels", "'label_manager': Input should be 'LabelManager' .found 'MyLabels'"),
        (("my_notes",), "x", "unknown key 'my_notes'"),
    ],
)
def test_what_segflow_does_not_have_is_refused_by_name(path, value, message, data):
    refused(change(data, path, value), message)


# Before release 2.5.


def old_format(plan):
    """A plan as releases before 2.5 wrote it."""
    data = plan_to_json(plan)
    for entry in data["configurations"].values():
        if "architecture" not in entry:
            continue
        network = entry.pop("architecture")
        arguments = network["arch_kwargs"]
        entry |= {
            "UNet_class_name": network["network_class_name"].rpartition(".")[2],
            "UNet_base_num_features": arguments["features_per_stage"][0],
            "unet_max_num_features": 512 if len(entry["patch_size"]) == 2 else 320,
            "n_conv_per_stage_encoder": arguments.get("n_conv_per_stage") or arguments["n_blocks_per_stage"],
            "n_conv_per_stage_decoder": arguments["n_conv_per_stage_decoder"],
            "num_pool_per_axis": [len(arguments["strides"]) - 1] * len(entry["patch_size"]),
            "pool_op_kernel_sizes": arguments["strides"],
            "conv_kernel_sizes": arguments["kernel_sizes"],
        }
    return data


@pytest.mark.parametrize("recipe", [{}, RESIDUAL], ids=["plain", "residual"])
def test_the_old_format_means_the_same(recipe):
    plan = sample_plan(CASCADE, **recipe)
    data = old_format(plan)
    assert "architecture" not in str(data)
    assert understood(data) == plan
    narrow = plan.configurations["2d"].architecture.model_copy(update={"features": (2,) * 8})
    build_network(narrow, input_channels=2, output_channels=3)


def test_an_old_plan_can_be_inherited_from():
    data = old_format(sample_plan(CASCADE))
    data["configurations"]["wide"] = {"inherits_from": "3d_fullres", "UNet_base_num_features": 48}
    assert understood(data).configurations["wide"].architecture.features == (48, 96, 192, 320, 320, 320)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("UNet_class_name", "Mamba", "3d_fullres: 'UNet_class_name': .* 'PlainConvUNet' or .*found 'Mamba'"),
        ("conv_kernel_sizes", None, "3d_fullres: 'conv_kernel_sizes': Field required"),
        ("pool_op_kernel_sizes", [], "3d_fullres: 'pool_op_kernel_sizes': "),
        ("UNet_base_num_features", "many", "3d_fullres: 'UNet_base_num_features': "),
        ("conv_kernel_sizes", [[3, 3, 3]], "3d_fullres: kernel_sizes has 1 entries, but strides has 7"),
        ("dropout", 0.5, r"unknown key 'configurations\.3d_fullres\.dropout'"),
    ],
)
def test_an_old_plan_that_is_wrong(key, value, message):
    refused(change(old_format(sample_plan()), [*FULL, key], value), message)
