"""The plans that the peer's users published, made again from the fingerprints beside them."""

from __future__ import annotations

import json

import pytest

from segflow.io.dataset import read_description
from segflow.io.plans import read_fingerprint
from segflow.planning import PlanInput, make_plan
from segflow.recipes import PlannerRecipe

pytestmark = pytest.mark.data

SCHEMES = {"zscore": "ZScoreNormalization", "ct": "CTNormalization"}
RESIDUAL_L = PlannerRecipe(
    plans_name="nnUNetResEncUNetLPlans",
    encoder="residual",
    memory_3d=2.1e9,
    memory_2d=380e6,
    reference_gpu_gb=24,
    gpu_memory_gb=24,
    dataset_share=1.0,
    full_batch_must_fit=True,
    encoder_blocks=(1, 3, 4, 6),
    decoder_blocks=1,
)
NEW = {
    "LymphNodes250": ("MIC-DKFZ__nnUNet__LymphNodes250_region", "nnUNetPlans.json"),
    "UPPECT": ("StMerce__UPPECT__UPPECT", "plans.json"),
    "Heart": ("automl__AutoNNUnet__MSD_Dataset002_Heart", "plans.json"),
    "Liver": ("automl__AutoNNUnet__MSD_Dataset003_Liver", "plans.json"),
    "Hippocampus": ("automl__AutoNNUnet__MSD_Dataset004_Hippocampus", "plans.json"),
    "Prostate": ("automl__AutoNNUnet__MSD_Dataset005_Prostate", "plans.json"),
    "Pancreas": ("automl__AutoNNUnet__MSD_Dataset007_Pancreas", "plans.json"),
}
# Written before release 2.5: no key "architecture", but the same numbers under other names.
OLD = {
    "MSSEG": ("ander-elkoroaristizabal__nnunet-ms-segmentation__MSSEG", "nnUNetPlans.json"),
    "RaSPDAM": ("zhejianglab__RaSPDAM__RaSPDAM", "plans.json"),
}


def planned(folder, recipe):
    description, labels = read_description(folder / "dataset.json")
    channels = description["channel_names"]
    sample = PlanInput(
        name=folder.name,
        channel_names=tuple(channels[str(number)] for number in range(len(channels))),
        n_cases=description["numTraining"],
        n_outputs=labels.n_entries,
    )
    return make_plan(read_fingerprint(folder / "dataset_fingerprint.json"), sample, recipe)


def check_top(plan, expected):
    assert list(plan.transpose_forward) == expected["transpose_forward"]
    assert list(plan.transpose_backward) == expected["transpose_backward"]
    assert list(plan.median_spacing_mm) == expected["original_median_spacing_after_transp"]
    assert list(plan.median_shape) == expected["original_median_shape_after_transp"]
    assert list(plan.configurations) == list(expected["configurations"])
    intensities = {key: value.model_dump() for key, value in plan.intensities.items()}
    assert intensities == expected["foreground_intensity_properties_per_channel"]


def check_configuration(found, expected):
    assert found.data_identifier == expected["data_identifier"]
    assert list(found.patch_shape) == expected["patch_size"]
    assert found.batch_size == expected["batch_size"]
    assert found.spacing_mm == pytest.approx(expected["spacing"], rel=1e-12)
    assert list(found.median_shape) == expected["median_image_size_in_voxels"]
    assert [SCHEMES[scheme] for scheme in found.normalization] == expected["normalization_schemes"]
    assert list(found.mask_normalization) == expected["use_mask_for_norm"]
    assert found.batch_dice == expected["batch_dice"]
    assert found.next_stage == expected.get("next_stage")


def check_architecture(found, expected, blocks):
    args = expected["architecture"]["arch_kwargs"]
    assert found.n_stages == args["n_stages"]
    assert list(found.features) == args["features_per_stage"]
    assert [list(stride) for stride in found.strides] == args["strides"]
    assert [list(kernel) for kernel in found.kernels] == args["kernel_sizes"]
    assert list(found.encoder_blocks) == args[blocks]
    assert list(found.decoder_blocks) == args["n_conv_per_stage_decoder"]


def own_configurations(plan, expected):
    """Those that are written out; a cascade only inherits."""
    for name, entry in expected["configurations"].items():
        if "inherits_from" in entry:
            cascade = plan.configurations[name]
            assert cascade.previous_stage == entry["previous_stage"]
            assert cascade.patch_shape == plan.configurations[entry["inherits_from"]].patch_shape
        else:
            yield plan.configurations[name], entry


def planned_and_expected(folder, file):
    """Every configuration of ours with the reference's entry for it, the plans' heads being equal."""
    expected = json.loads((folder / file).read_text())
    plan = planned(folder, PlannerRecipe())
    check_top(plan, expected)
    return own_configurations(plan, expected)


@pytest.mark.parametrize("name", NEW)
def test_same_plan(name, shared):
    folder, file = NEW[name]
    for found, entry in planned_and_expected(shared / "reference" / "plans" / folder, file):
        check_configuration(found, entry)
        check_architecture(found.architecture, entry, "n_conv_per_stage")


@pytest.mark.parametrize("name", OLD)
def test_same_plan_in_the_old_format(name, shared):
    folder, file = OLD[name]
    for found, entry in planned_and_expected(shared / "reference" / "plans" / folder, file):
        check_configuration(found, entry)
        architecture = found.architecture
        assert [list(stride) for stride in architecture.strides] == entry["pool_op_kernel_sizes"]
        assert [list(kernel) for kernel in architecture.kernels] == entry["conv_kernel_sizes"]
        assert list(architecture.encoder_blocks) == entry["n_conv_per_stage_encoder"]
        assert list(architecture.decoder_blocks) == entry["n_conv_per_stage_decoder"]
        assert max(architecture.features) <= entry["unet_max_num_features"]


def test_same_residual_plan(shared):
    folder = shared / "reference" / "plans" / NEW["LymphNodes250"][0]
    expected = json.loads((folder / "nnUNetResEncUNetLPlans.json").read_text())
    plan = planned(folder, RESIDUAL_L)
    check_top(plan, expected)
    for found, entry in own_configurations(plan, expected):
        # The peer shares the prepared data of 2d and 3d_fullres with its default plans (method.md 6.9).
        shared_data = {**entry, "data_identifier": found.data_identifier}
        check_configuration(found, shared_data)
        check_architecture(found.architecture, entry, "n_blocks_per_stage")


def test_no_folder_is_forgotten(shared):
    known = {folder for folder, _ in (*NEW.values(), *OLD.values())}
    assert {path.name for path in (shared / "reference" / "plans").iterdir()} == known
