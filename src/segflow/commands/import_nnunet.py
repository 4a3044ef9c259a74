"""`segflow import-nnunet`: make a model package of the peer's results folders, so that segflow predicts with them."""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segflow.commands.console import console, logger
from segflow.commands.options import configuration_of
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.model import ModelCard, NetworkCard
from segflow.contracts.plan import Configuration, Plan
from segflow.contracts.scores import Candidate, PostProcessing, Selection
from segflow.images.dataset import read_description
from segflow.network.unet import build_network
from segflow.network.weights import load_whole_
from segflow.nnunet.checkpoints import PEER_TRAINER, PeerCheckpoint, load_peer_checkpoint
from segflow.nnunet.plans import read_plan
from segflow.recipes.inference import InferenceRecipe
from segflow.selection.choose import candidate_name
from segflow.storage.files import versions, write_atomically, write_text
from segflow.storage.weights import save_network

_COPIED = ("dataset.json", "dataset_fingerprint.json", "plans.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--folders",
        type=Path,
        nargs="+",
        required=True,
        help="results folders such as nnUNetTrainer__nnUNetPlans__3d_fullres; several are averaged, and a cascade "
        "needs that of its previous stage",
    )
    parser.add_argument("--folds", type=int, nargs="+", help="folds to take over (default: all there are)")
    parser.add_argument(
        "--checkpoint", default="checkpoint_final.pth", help="name of the file (default checkpoint_final.pth)"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the model package")


@dataclass(frozen=True)
class _Source:
    """What all folders share: those of one data set and plan."""

    plan: Plan
    labels: Labels
    channels: int


def run(options: argparse.Namespace) -> None:
    """Take over weights, plan and data set description; write model.json last. Source: method.md sections 1, 15."""
    first: Path = options.folders[0]
    description, labels = read_description(first / "dataset.json")
    source = _Source(read_plan(first / "plans.json"), labels, len(description["channel_names"]))
    folds = tuple(options.folds or _folds(first))
    mirroring = True
    names = []
    for folder in options.folders:
        checkpoints = {
            fold: load_peer_checkpoint(folder / f"fold_{fold}" / options.checkpoint) for fold in folds
        }
        for fold, checkpoint in checkpoints.items():
            _take_over(folder, fold, checkpoint, source, options.output)
            mirroring = mirroring and checkpoint.mirroring
        names.append(checkpoints[folds[0]].configuration)
    for name in _COPIED:
        _copy(first / name, options.output / name)
    card = _card(source.plan, names, folds, mirroring=mirroring)
    write_text(options.output / "model.json", card.to_json())
    console.print(f"model package: {options.output}")


def _take_over(folder: Path, fold: int, checkpoint: PeerCheckpoint, source: _Source, package: Path) -> None:
    if checkpoint.trainer != PEER_TRAINER:
        logger.warning(
            "%s was trained by %s, which may predict in ways of its own", folder, checkpoint.trainer
        )
    configuration = configuration_of(source.plan, checkpoint.configuration)
    card = NetworkCard(
        configuration=configuration,
        input_channels=_input_channels(source, configuration),
        n_outputs=source.labels.n_outputs,
        fold=fold,
        seed=0,
        epochs=checkpoint.epochs,
        device="nnU-Net",
    )
    network = build_network(
        configuration.architecture, input_channels=card.input_channels, output_channels=card.n_outputs
    )
    load_whole_(network, checkpoint.weights, where=str(folder / f"fold_{fold}"))
    save_network(package / configuration.name / f"fold_{fold}.pt", card, network.state_dict())


def _input_channels(source: _Source, configuration: Configuration) -> int:
    cascade = configuration.previous_stage is not None
    return source.channels + (len(source.labels.foreground_values) if cascade else 0)


def _folds(folder: Path) -> list[int]:
    found = sorted(int(path.name[5:]) for path in folder.glob("fold_*") if path.name[5:].isdecimal())
    if not found:
        raise PredictionError(
            f"{folder} has no folds (fold_0, fold_1, ...); name a folder of nnU-Net's results"
        )
    return found


def _card(plan: Plan, names: Sequence[str], folds: tuple[int, ...], *, mirroring: bool) -> ModelCard:
    """Without scores: they are not among the files that are read."""
    before = {configuration_of(plan, name).previous_stage for name in names} - {None}
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
            operations=(),
            steps=(),
            foreground_mean_dice_before=math.nan,
            foreground_mean_dice_after=math.nan,
        ),
        selection=Selection(best=best, candidates=(best,)),
        versions=versions(),
    )


def _copy(source: Path, target: Path) -> None:
    """The fingerprint may be missing: prediction does without."""
    if source.exists():
        write_atomically(target, lambda temporary: shutil.copyfile(source, temporary))
