"""Run by nnU-Net's Python: its evaluation, its search for post-processing, its choice among models.

    PEER_PYTHON peer_selection.py JOBS.json OUTPUT.json

A job is {"do": "evaluate" | "postprocess" | "select", ...}; OUTPUT.json holds an answer for each, or the error it ended
with. Only nnU-Net's public functions are called. Its pools are of threads here: starting processes would take
nearly all of the time.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

from batchgenerators.utilities.file_and_folder_operations import save_pickle
from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder2
from nnunetv2.evaluation.find_best_configuration import find_best_configuration
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.postprocessing.remove_connected_components import determine_postprocessing

PROCESSES = 2


def main(jobs, output):
    multiprocessing.get_context = lambda *_: SimpleNamespace(Pool=ThreadPool)
    answers = [answer(job) for job in json.loads(Path(jobs).read_text())]
    Path(output).write_text(json.dumps(answers))


def answer(job):
    try:
        return {"evaluate": evaluate, "postprocess": postprocess, "select": select}[job.pop("do")](**job)
    except Exception as problem:  # noqa: BLE001  what it fails with is the answer
        return {"error": f"{type(problem).__name__}: {problem}"}


def evaluate(predictions, references, dataset, plans):
    file = Path(predictions) / "summary.json"
    compute_metrics_on_folder2(
        references, predictions, dataset, plans, str(file), num_processes=PROCESSES, chill=True
    )
    return json.loads(file.read_text())


def postprocess(predictions, references, dataset, plans):
    determine_postprocessing(predictions, references, plans, dataset, PROCESSES)
    return decision(Path(predictions))


def select(dataset_name, configurations, folds):
    for file in sorted(Path(job_results(dataset_name)).glob("*/fold_*/validation/*.nii.gz")):
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


def job_results(dataset_name):
    from nnunetv2.paths import nnUNet_results  # noqa: PLC0415  set by the environment

    return Path(nnUNet_results) / dataset_name


def decision(folder):
    content = json.loads((folder / "postprocessing.json").read_text())
    return {
        "operations": [kwargs["labels_or_regions"] for kwargs in content["postprocessing_kwargs"]],
        "before": content["input_folder"]["foreground_mean"]["Dice"],
        "after": content["postprocessed"]["foreground_mean"]["Dice"],
        "mean_after": {key: entry["Dice"] for key, entry in content["postprocessed"]["mean"].items()},
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
