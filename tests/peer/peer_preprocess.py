"""Run by nnU-Net's Python: what nnU-Net makes of a raw data set, written as JSON and plain arrays.

    nnUNet_raw=R nnUNet_preprocessed=P nnUNet_results=S PEER_PYTHON peer_preprocess.py JOB.json OUTPUT

JOB.json: dataset (a folder of R), planners (class names; the cases are prepared after the first one's plans),
gpu_memory_gb, spacing (numbers or null), fingerprint (a file to use instead of extracting one, or null),
prepare (whether to prepare the cases).

OUTPUT gets dataset_fingerprint.json, plans/PLANNER.json, splits_final.json where there are cases enough, and
CONFIGURATION/CASE.npz. Only nnU-Net's public functions and classes are called.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset, plan_experiments
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.crossval_split import generate_crossval_split
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

PROCESSES = 2
N_FOLDS = 5


def main(job_file, output):
    job = json.loads(Path(job_file).read_text())
    output = Path(output)
    raw = Path(os.environ["nnUNet_raw"], job["dataset"])  # noqa: SIM112
    preprocessed = Path(os.environ["nnUNet_preprocessed"], job["dataset"])  # noqa: SIM112
    write_fingerprint(job, preprocessed, output)
    plans = [write_plans(planner, job, preprocessed, output) for planner in job["planners"]]
    write_folds(raw, output)
    if job["prepare"]:
        write_cases(PlansManager(str(plans[0])), raw, output)


def dataset_id(job):
    return int(job["dataset"].removeprefix("Dataset").split("_")[0])


def write_fingerprint(job, preprocessed, output):
    if job["fingerprint"] is None:
        extract_fingerprint_dataset(
            dataset_id(job),
            num_processes=PROCESSES,
            check_dataset_integrity=True,
            verbose=False,
            show_progress_bar=False,
        )
    else:
        preprocessed.mkdir(parents=True)
        shutil.copy(job["fingerprint"], preprocessed / "dataset_fingerprint.json")
    shutil.copy(preprocessed / "dataset_fingerprint.json", output)


def write_plans(planner, job, preprocessed, output):
    """A name of its own for each planner's file, and then the planner's own name in it again."""
    plan_experiments(
        [dataset_id(job)],
        planner,
        gpu_memory_target_in_gb=job["gpu_memory_gb"],
        overwrite_target_spacing=job["spacing"],
    )
    known = {"dataset.json", "dataset_fingerprint.json", "splits_final.json"}
    (found,) = (file for file in preprocessed.glob("*.json") if file.name not in known)
    folder = output / "plans"
    folder.mkdir(exist_ok=True)
    return shutil.move(found, folder / f"{planner}.json")


def write_folds(raw, output):
    cases = sorted(get_filenames_of_train_images_and_targets(str(raw)))
    if len(cases) >= N_FOLDS:
        (output / "splits_final.json").write_text(json.dumps(generate_crossval_split(cases)))


def write_cases(plans, raw, output):
    description = json.loads((raw / "dataset.json").read_text())
    cases = get_filenames_of_train_images_and_targets(str(raw), description)
    for name in ("2d", "3d_lowres", "3d_fullres"):
        if name not in plans.available_configurations:
            continue
        folder = output / name
        folder.mkdir()
        configuration = plans.get_configuration(name)
        for case, files in cases.items():
            prepared = DefaultPreprocessor(verbose=False).run_case(
                files["images"], files["label"], plans, configuration, description
            )
            np.savez(folder / f"{case}.npz", **arrays(*prepared))


def arrays(image, labels, properties):
    """One case; the targets' voxels under the target as JSON text."""
    locations = {
        f"locations {json.dumps(target)}": np.reshape(voxels, (-1, 4)).astype(np.int64)
        for target, voxels in properties["class_locations"].items()
    }
    return {
        "image": image.astype(np.float32),
        "labels": labels,
        "spacing": properties["spacing"],
        "shape_before_crop": properties["shape_before_cropping"],
        "crop_box": properties["bbox_used_for_cropping"],
        "shape_after_crop": properties["shape_after_cropping_and_before_resampling"],
        **locations,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
