"""`segflow export-nnunet`: write a model package as the peer's results folders, so that the peer predicts with it."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from segflow.commands.console import console
from segflow.contracts.errors import PredictionError
from segflow.contracts.model import ModelCard
from segflow.contracts.plan import Plan
from segflow.nnunet.checkpoints import PEER_TRAINER, save_peer_checkpoint
from segflow.nnunet.plans import read_plan, write_plan
from segflow.storage.files import read_contract, write_atomically
from segflow.storage.weights import load_network

_COPIED = ("dataset.json", "dataset_fingerprint.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--model", type=Path, required=True, help="model package: the folder with model.json")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder of a data set's results, as nnUNet_results/Dataset004_Hippocampus",
    )


def run(options: argparse.Namespace) -> None:
    """Write a folder for each configuration, with a checkpoint for each fold. Source: method.md sections 1, 15, 24."""
    package: Path = options.model
    card = read_contract(ModelCard, package / "model.json", error=PredictionError)
    names = (*card.stages, *card.configurations)
    plan = _as_trained(package, card, names)
    for name in names:
        folder = options.output / f"{PEER_TRAINER}__{plan.plans_name}__{name}"
        write_plan(folder / "plans.json", plan)
        for copied in _COPIED:
            _copy(package / copied, folder / copied)
        for fold in card.folds:
            network_card, network = load_network(package / name / f"fold_{fold}.pt")
            save_peer_checkpoint(
                folder / f"fold_{fold}" / "checkpoint_final.pth",
                network.state_dict(),
                network_card,
                mirroring=bool(card.inference["mirroring"]),
            )
        console.print(f"written: {folder}")
    if card.postprocessing.operations:
        console.print("post-processing is not exported: nnU-Net keeps it as pickled functions")


def _as_trained(package: Path, card: ModelCard, names: tuple[str, ...]) -> Plan:
    """The plan with widths and batch sizes that were set in place of its own."""
    plan = read_plan(package / "plans.json")
    cards = [load_network(package / name / f"fold_{card.folds[0]}.pt")[0] for name in names]
    trained = {network.configuration.name: network.configuration for network in cards}
    return plan.model_copy(update={"configurations": plan.configurations | trained})


def _copy(source: Path, target: Path) -> None:
    """The fingerprint may be missing: prediction does without."""
    if source.exists():
        write_atomically(target, lambda temporary: shutil.copyfile(source, temporary))
