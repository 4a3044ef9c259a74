"""Called by nnunet_worker.py: nnU-Net's evaluation, search for post-processing and choice among models.

nnU-Net's pools are of threads here: starting processes would take nearly all of the time.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

from batchgenerators.utilities.file_and_folder_operations import save_pickle
from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder2
from nnunetv2.evaluation.find_best_configuration import find_best_configuration
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.postprocessing.remove_connected_components import determine_postprocessing

PROCESSES = 2
multiprocessing.get_context = lambda *_: SimpleNamespace(Pool=ThreadPool)


def score(folders):
    """Scores and post-processing of the label maps in each folder; a summary.json among them is used if it exists."""
    found = []
    for folder in map(Path, folders):
        summary = folder / "theirs" / "summary.json"
        predictions, references, dataset, plans = (
            str(folder / name) for name in ("theirs", "labelsTr", "dataset.json", "plans.json")
        )
        if not summary.exists():
            compute_metrics_on_folder2(
                references, predictions, dataset, plans, str(summary), num_processes=PROCESSES, chill=True
            )
        determine_postprocessing(predictions, references, plans, dataset, PROCESSES)
        found.append([json.loads(summary.read_text()), decision(folder / "theirs")])
    return found


def select(dataset_name, configurations, folds):
    results = Path(os.environ["nnUNet_results"], dataset_name)  # noqa: SIM112
    for file in sorted(results.glob("*/fold_*/validation/*.nii.gz")):
        _, properties = SimpleITKIO().read_seg(str(file))
        save_pickle(properties, str(file).replace(".nii.gz", ".pkl"))
    models = [
        {"plans": "nnUNetPlans", "configuration": name, "trainer": "nnUNetTrainer"} for name in configurations
    ]
    found = find_best_configuration(dataset_name, models, num_processes=PROCESSES, folds=folds)
    best = found["best_model_or_ensemble"]
    chosen = [model["configuration"] for model in best["selected_model_or_models"]]
    folder = Path(best["postprocessing_file"]).parent
    return {"best": "+".join(chosen), "scores": list(found["all_results"].values()), **decision(folder)}


def decision(folder):
    content = json.loads((folder / "postprocessing.json").read_text())
    return {
        "operations": [kwargs["labels_or_regions"] for kwargs in content["postprocessing_kwargs"]],
        "before": content["input_folder"]["foreground_mean"]["Dice"],
        "after": content["postprocessed"]["foreground_mean"]["Dice"],
    }
