"""From model packages to nnU-Net's results folders and back. Source: method.md sections 1, 15, 24."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.model import ModelCard, NetworkCard
from segflow.contracts.plan import Configuration, FoldName, Plan
from segflow.contracts.scores import Candidate, PostProcessing, Selection
from segflow.images.dataset import check_reader, read_description
from segflow.network.unet import build_network
from segflow.network.weights import load_weights_
from segflow.nnunet.checkpoints import NNUNET_TRAINER, load_nnunet_checkpoint, save_nnunet_checkpoint
from segflow.nnunet.plans import read_plan, write_plan
from segflow.recipes.inference import InferenceRecipe
from segflow.selection.choose import candidate_name
from segflow.storage.files import (
    checked_digests,
    copy_file,
    digests_of,
    read_contract,
    versions,
    write_text,
)
from segflow.storage.weights import load_network, save_network

__all__ = ["export_package", "import_folders"]

_logger = logging.getLogger("segflow")


def export_package(package: Path, output: Path) -> tuple[Path, ...]:
    """Write a model package as results folders that nnU-Net can predict with.

    Post-processing is left out: nnU-Net stores it as pickled functions.

    Args:
        package: Folder of the package.
        output: Folder for a data set's results, such as nnUNet_results/Dataset004_Hippocampus.

    Returns:
        The folders, one per configuration, such as nnUNetTrainer__nnUNetPlans__2d.

    Raises:
        PredictionError: A file of the package is missing or cannot be understood.
        PlanError: Its plan cannot be understood.
    """
    card = read_contract(ModelCard, package / "model.json", error=PredictionError)
    names = (*card.stages, *card.configurations)
    weights = [f"{name}/fold_{fold}.pt" for name in names for fold in card.folds]
    checked_digests(package, ["dataset.json", "plans.json", *weights], card.files, error=PredictionError)
    networks = [load_network(package / name / f"fold_{card.folds[0]}.pt")[0] for name in names]
    trained = {network.configuration.name: network.configuration for network in networks}
    plan = read_plan(package / "plans.json")
    plan = plan.model_copy(update={"configurations": plan.configurations | trained})
    folders = tuple(output / f"{NNUNET_TRAINER}__{plan.plans_name}__{name}" for name in names)
    for name, folder in zip(names, folders, strict=True):
        write_plan(folder / "plans.json", plan)
        _copy(package, folder, "dataset.json", "dataset_fingerprint.json")
        for fold in card.folds:
            network_card, network = load_network(package / name / f"fold_{fold}.pt")
            save_nnunet_checkpoint(
                folder / f"fold_{fold}" / "checkpoint_final.pth",
                network.state_dict(),
                network_card,
                mirroring=bool(card.inference["mirroring"]),
            )
    if card.postprocessing.operations:
        _logger.warning("post-processing is not exported: nnU-Net stores it as pickled functions")
    return folders


def import_folders(
    folders: Sequence[Path],
    package: Path,
    *,
    folds: Sequence[FoldName] = (),
    checkpoint: str = "checkpoint_final.pth",
) -> None:
    """Make a model package from nnU-Net's results folders; model.json is written last.

    Args:
        folders: Of one data set and plan, such as nnUNetTrainer__nnUNetPlans__3d_fullres; several are averaged, and a
            cascade also needs the folder of its previous stage.
        package: Folder of the package.
        folds: Folds to import; if empty, those with a number in the first folder, or else fold_all.
        checkpoint: Name of the checkpoint in each fold's folder.

    Raises:
        DatasetError: dataset.json cannot be used, or plans.json names a reader that reads in another way.
        PlanError: plans.json cannot be used.
        PredictionError: There are no folds, a checkpoint cannot be used, or a previous stage is missing.
        TrainingError: A network is one that segflow does not have, or not that of the plan.
    """
    description, labels = read_description(folders[0] / "dataset.json")
    channels = len(description["channel_names"])
    plan = read_plan(folders[0] / "plans.json")
    check_reader(plan.image_reader_writer, f"{folders[0] / 'plans.json'}: image_reader_writer")
    numbers = tuple(folds) or _folds(folders[0])
    mirroring = True
    names = []
    for folder in folders:
        for fold in numbers:
            found = load_nnunet_checkpoint(folder / f"fold_{fold}" / checkpoint)
            if found.trainer != NNUNET_TRAINER:
                _logger.warning(
                    "%s was trained by %s, which may predict in another way", folder, found.trainer
                )
            configuration = plan.configuration(found.configuration)
            card = _network_card(configuration, channels, labels, fold=fold, epochs=found.epochs)
            network = build_network(
                configuration.architecture, input_channels=card.input_channels, output_channels=card.n_outputs
            )
            load_weights_(network, found.weights, where=str(folder / f"fold_{fold}"))
            save_network(package / configuration.name / f"fold_{fold}.pt", card, network.state_dict())
            mirroring = mirroring and found.mirroring
        names.append(configuration.name)
    files = [package / name / f"fold_{fold}.pt" for name in names for fold in numbers]
    files += _copy(folders[0], package, "dataset.json", "dataset_fingerprint.json", "plans.json")
    made = _model_card(plan, names, numbers, mirroring=mirroring)
    made = made.model_copy(update={"files": digests_of(package, files)})
    write_text(package / "model.json", made.to_json())


def _network_card(
    configuration: Configuration, channels: int, labels: Labels, *, fold: FoldName, epochs: int
) -> NetworkCard:
    cascade = configuration.previous_stage is not None
    return NetworkCard(
        configuration=configuration,
        input_channels=channels + (len(labels.foreground_values) if cascade else 0),
        n_outputs=labels.n_outputs,
        fold=fold,
        seed=0,
        epochs=epochs,
        device="nnU-Net",
    )


def _folds(folder: Path) -> tuple[FoldName, ...]:
    found = sorted(int(path.name[5:]) for path in folder.glob("fold_*") if path.name[5:].isdecimal())
    if not found and (folder / "fold_all").is_dir():
        return ("all",)
    if not found:
        raise PredictionError(
            f"{folder} has no folds (fold_0, fold_1, ...); name a folder of nnU-Net's results"
        )
    return tuple(found)


def _model_card(
    plan: Plan, names: Sequence[str], folds: tuple[FoldName, ...], *, mirroring: bool
) -> ModelCard:
    """Without scores, as the results folders have none that segflow could read."""
    before = {plan.configuration(name).previous_stage for name in names} - {None}
    missing = before - set(names)
    if missing:
        raise PredictionError(f"a cascade needs the folder of its previous stage {missing.pop()} as well")
    chosen = tuple(name for name in names if name not in before)
    best = Candidate(
        name=candidate_name(chosen), configurations=chosen, foreground_mean_dice=math.nan, summary=""
    )
    inference = InferenceRecipe().model_copy(update={"mirroring": mirroring})
    return ModelCard(
        dataset=plan.dataset_name,
        recipe="nnU-Net",
        inference=inference.model_dump(),
        configurations=chosen,
        stages=tuple(name for name in names if name in before),
        folds=folds,
        postprocessing=PostProcessing(
            operations=(), steps=(), foreground_mean_dice_before=math.nan, foreground_mean_dice_after=math.nan
        ),
        selection=Selection(best=best, candidates=(best,)),
        versions=versions(),
    )


def _copy(source: Path, target: Path, *names: str) -> list[Path]:
    """Copy the files that exist; prediction does not need the fingerprint."""
    found = [name for name in names if (source / name).exists()]
    for name in found:
        copy_file(source / name, target / name)
    return [target / name for name in found]
