"""Called by nnunet_worker.py: fingerprint, plans, folds and prepared cases of a raw data set, as nnU-Net makes them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset, plan_experiments
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.crossval_split import generate_crossval_split
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

PROCESSES = 2
N_FOLDS = 5


def plan_and_prepare(dataset, planners, gpu_memory_gb, spacing_mm, fingerprint, prepare, output):
    """Write dataset_fingerprint.json, plans/PLANNER.json, splits_final.json and CONFIGURATION/CASE.npz.

    Args:
        dataset: Name of a folder of raw data.
        planners: Class names; cases are prepared after the first one's plans.
        gpu_memory_gb, spacing_mm: To plan for; null for the default.
        fingerprint: A file to use instead of extracting one, or null.
        prepare: Whether to prepare the cases.
        output: The folder. There are no folds of fewer than five cases.
    """
    output = Path(output)
    raw = Path(os.environ["nnUNet_raw"], dataset)  # noqa: SIM112
    preprocessed = Path(os.environ["nnUNet_preprocessed"], dataset)  # noqa: SIM112
    identifier = int(dataset.removeprefix("Dataset").split("_")[0])
    if fingerprint is None:
        extract_fingerprint_dataset(
            identifier,
            num_processes=PROCESSES,
            check_dataset_integrity=True,
            verbose=False,
            show_progress_bar=False,
        )
    else:
        preprocessed.mkdir(parents=True)
        shutil.copy(fingerprint, preprocessed / "dataset_fingerprint.json")
    shutil.copy(preprocessed / "dataset_fingerprint.json", output)
    (output / "plans").mkdir()
    for planner in planners:
        plan_experiments(
            [identifier], planner, gpu_memory_target_in_gb=gpu_memory_gb, overwrite_target_spacing=spacing_mm
        )
        known = {"dataset.json", "dataset_fingerprint.json", "splits_final.json"}
        (plans,) = (file for file in preprocessed.glob("*.json") if file.name not in known)
        shutil.move(plans, output / "plans" / f"{planner}.json")
    cases = get_filenames_of_train_images_and_targets(str(raw))
    if len(cases) >= N_FOLDS:
        (output / "splits_final.json").write_text(json.dumps(generate_crossval_split(sorted(cases))))
    if prepare:
        write_cases(PlansManager(str(output / "plans" / f"{planners[0]}.json")), raw, cases, output)


def write_cases(plans, raw, cases, output):
    description = json.loads((raw / "dataset.json").read_text())
    for name in {"2d", "3d_lowres", "3d_fullres"} & set(plans.available_configurations):
        (output / name).mkdir()
        configuration = plans.get_configuration(name)
        for case, files in cases.items():
            prepared = DefaultPreprocessor(verbose=False).run_case(
                files["images"], files["label"], plans, configuration, description
            )
            np.savez(output / name / f"{case}.npz", **arrays_of(*prepared))


def arrays_of(image, labels, properties):
    """A case; the voxels of each target under the target as JSON text, in the order they were drawn."""
    return {
        "image": image.astype(np.float32),
        "labels": labels[0],
        "spacing": properties["spacing"],
        "shape_before_crop": properties["shape_before_cropping"],
        "crop_box": properties["bbox_used_for_cropping"],
        "shape_after_crop": properties["shape_after_cropping_and_before_resampling"],
        **{
            f"locations {json.dumps(target)}": np.reshape(voxels, (-1, 4)).astype(np.int64)[:, 1:]
            for target, voxels in properties["class_locations"].items()
        },
    }
