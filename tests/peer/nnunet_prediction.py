"""Called by nnunet_worker.py: label maps of images on the CPU, and the checkpoint of an untrained network."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import torch
from batchgenerators.utilities.file_and_folder_operations import load_pickle
from nnunet_selection import score
from nnunetv2.inference import predict_from_raw_data
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.model_sharing.model_export import export_pretrained_model
from nnunetv2.model_sharing.model_import import install_model_from_zip_file
from nnunetv2.postprocessing.remove_connected_components import apply_postprocessing_to_folder
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

CPU = torch.device("cpu")


def predict(results, images, output, precision="half"):
    """Label images with fold 0 of a results folder; with float32, logits and tile weights have that precision."""
    if precision == "float32":
        torch.half = torch.float32
        weights = predict_from_raw_data.compute_gaussian
        precise = partial(weights, dtype=torch.float32)
        precise.cache_clear = weights.cache_clear
        predict_from_raw_data.compute_gaussian = precise
    Path(output).mkdir()
    predictor = nnUNetPredictor(perform_everything_on_device=False, device=CPU, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(results, use_folds=(0,))
    predictor.predict_from_files_sequential(images, output)


def make_checkpoint(results):
    """Let nnU-Net's trainer write a checkpoint of an untrained network, with all that its checkpoints contain."""
    folder = Path(results)
    plans, description = (json.loads((folder / name).read_text()) for name in ("plans.json", "dataset.json"))
    plans["continue_training"] = False  # as its command line does
    trainer = nnUNetTrainer(plans, folder.name.split("__")[-1], 0, description, CPU)
    prepared = Path(trainer.preprocessed_dataset_folder)
    prepared.mkdir(parents=True)
    (prepared / "case.b2nd").touch()  # the trainer looks for the type of the files
    torch.manual_seed(0)
    trainer.initialize()
    with torch.no_grad():
        for parameter in trainer.network.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    trainer.inference_allowed_mirroring_axes = None
    trainer.logger.log("mean_fg_dice", np.float64(0.5), 0)
    trainer.logger.log("train_losses", np.float32(-0.5), 0)
    trainer.logger.log("dice_per_class_or_region", [np.float32(0.5), np.float64("nan")], 0)
    trainer.save_checkpoint(str(folder / "checkpoint.pth"))
    (folder / "fold_0").mkdir()
    shutil.move(folder / "checkpoint.pth", folder / "fold_0" / "checkpoint_final.pth")


def install(file):
    install_model_from_zip_file(file)


def export(results, maps, file):
    """A zip of a results folder whose post-processing is decided by a folder of label maps and their references."""
    folder = Path(results)
    shutil.copytree(Path(maps, "theirs"), folder / "crossval_results_folds_0")
    for name in ("dataset.json", "plans.json"):
        shutil.copy(folder / name, maps)
    ((_, decided),) = score([maps])
    for name in ("postprocessing.pkl", "postprocessing.json", "summary.json"):
        shutil.copy(Path(maps, "theirs", name), folder / "crossval_results_folds_0")
    (folder / "fold_0" / "validation").mkdir()
    (folder / "fold_0" / "progress.png").touch()
    shutil.copy(Path(maps, "theirs", "summary.json"), folder / "fold_0" / "validation")
    dataset, configuration = folder.parent.name, folder.name.split("__")[-1]
    export_pretrained_model(dataset, file, configurations=(configuration,), folds=(0,), strict=False)
    return decided["operations"]


def postprocess(results, labels, output):
    """As the command that applies a results folder's post-processing."""
    folder = Path(results)
    operations = load_pickle(str(folder / "crossval_results_folds_0" / "postprocessing.pkl"))
    files = (str(folder / name) for name in ("plans.json", "dataset.json"))
    apply_postprocessing_to_folder(labels, output, *operations, *files, num_processes=1)
