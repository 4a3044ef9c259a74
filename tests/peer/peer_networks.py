"""Run by nnU-Net's Python: what nnU-Net reads in plans.json files, and the networks it builds from them.

    nnUNet_raw=R nnUNet_preprocessed=P nnUNet_results=S PEER_PYTHON peer_networks.py DATASET.json OUTPUT PLANS...

OUTPUT is a JSON list with an entry for each of PLANS. Only nnU-Net's public functions and classes are called.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

SHARED = (
    "dataset_name",
    "plans_name",
    "original_median_spacing_after_transp",
    "original_median_shape_after_transp",
    "transpose_forward",
    "transpose_backward",
    "experiment_planner_name",
    "foreground_intensity_properties_per_channel",
    "available_configurations",
)
CLASSES = ("image_reader_writer_class", "experiment_planner_class", "label_manager_class")
OF_CONFIGURATION = (
    "batch_dice",
    "batch_size",
    "data_identifier",
    "median_image_size_in_voxels",
    "network_arch_class_name",
    "network_arch_init_kwargs",
    "network_arch_init_kwargs_req_import",
    "next_stage_names",
    "normalization_schemes",
    "patch_size",
    "pool_op_kernel_sizes",
    "preprocessor_name",
    "previous_stage_name",
    "spacing",
    "use_mask_for_norm",
)
RESAMPLING = ("resampling_fn_data", "resampling_fn_seg", "resampling_fn_probabilities")


def main(dataset, output, *files):
    description = json.loads(Path(dataset).read_text())
    Path(output).write_text(
        json.dumps([described(PlansManager(file), description) for file in files], default=list)
    )


def described(plans, description):
    return {
        **{name: getattr(plans, name) for name in SHARED},
        **{name: getattr(plans, name).__name__ for name in CLASSES},
        "configurations": {
            name: configured(plans, name, description) for name in plans.available_configurations
        },
    }


def configured(plans, name, description):
    configuration = plans.get_configuration(name)
    return {
        **{key: getattr(configuration, key) for key in OF_CONFIGURATION},
        **{key: repr(getattr(configuration, key).keywords) for key in RESAMPLING},
        "preprocessor_class": configuration.preprocessor_class.__name__,
        "network": network(plans, configuration, description),
    }


def network(plans, configuration, description):
    """Channels and the sizes of all parameters of the network, built as training builds it."""
    n_in = determine_num_input_channels(plans, configuration, description)
    n_out = plans.get_label_manager(description).num_segmentation_heads
    built = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        n_in,
        n_out,
        deep_supervision=True,
    )
    parameters = list(built.parameters())
    return {
        "input_channels": n_in,
        "output_channels": n_out,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "shapes": sorted([*parameter.shape] for parameter in parameters),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
