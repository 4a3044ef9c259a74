"""`segflow train`: train one configuration on one fold."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from segflow.commands.console import logger, progress_bar
from segflow.commands.options import choose_device, configuration_of, fold_of
from segflow.commands.prediction import save_network
from segflow.contracts.artefacts import Manifest, NetworkCard
from segflow.contracts.errors import TrainingError
from segflow.contracts.folds import Fold
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Configuration
from segflow.io.dataset import read_description
from segflow.io.files import read_contract, write_text
from segflow.io.plans import read_folds, read_plan
from segflow.io.store import CaseStore
from segflow.io.weights import CheckpointFile
from segflow.io.workspace import workspace
from segflow.planning import features_per_stage
from segflow.recipes import Recipe, recipe_named
from segflow.training import EpochRecord, TrainingJob, train

_KEY_LENGTH = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments. Source: ours."""
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument("--plan", type=Path, required=True, help="plans.json")
    parser.add_argument("--folds", type=Path, required=True, help="splits_final.json")
    parser.add_argument("--fold", type=int, required=True, help="its number, from 0")
    parser.add_argument("--configuration", required=True, help="such as 3d_fullres")
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared cases")
    parser.add_argument("--previous-stage", type=Path, help="folder of the previous stage's labels (cascade)")
    parser.add_argument(
        "--manifests", type=Path, nargs="+", required=True, help="manifests of all that is read"
    )
    parser.add_argument("--output", type=Path, required=True, help="weights file")
    parser.add_argument("--history", type=Path, required=True, help="training.csv, a row per epoch")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for checkpoints of an unfinished training"
    )
    budget = parser.add_argument_group("budget (default: the recipe's and the plan's)")
    budget.add_argument("--epochs", type=int)
    budget.add_argument("--iterations", type=int, help="training batches per epoch")
    budget.add_argument("--validation-iterations", type=int, help="held-out batches per epoch")
    budget.add_argument("--base-width", type=int, help="feature maps of the first stage")
    budget.add_argument("--batch-size", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all cores)"
    )
    parser.add_argument("--workers", type=int, help="processes that prepare batches")


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """What was read."""

    labels: Labels
    configuration: Configuration
    recipe: Recipe
    fold: Fold
    digests: dict[str, str]
    channels: int


def run(options: argparse.Namespace) -> None:
    """Train, or go on where an interrupted training of exactly this job stopped. Source: method.md section 15."""
    torch.set_num_threads(options.threads)
    inputs = _read(options)
    device = choose_device(options.device)
    store = CaseStore(options.data, previous_stage=options.previous_stage)
    job = TrainingJob(
        configuration=inputs.configuration,
        labels=inputs.labels,
        channels=inputs.channels,
        fold=inputs.fold,
        recipe=inputs.recipe,
        device=device,
        seed=options.seed,
        workers=options.workers if options.workers is not None else _default_workers(options.threads, device),
    )
    card = NetworkCard(
        configuration=job.configuration,
        input_channels=job.input_channels,
        n_outputs=job.labels.n_outputs,
        fold=options.fold,
        seed=options.seed,
        epochs=job.recipe.training.epochs,
        device=device,
    )
    steps = job.recipe.training.epochs * job.recipe.training.iterations
    with workspace(options.work / _key(job, inputs.digests)) as folder:
        checkpoints = CheckpointFile(folder / "checkpoint.pt")
        with progress_bar(f"train {job.configuration.name} fold {options.fold}", steps) as bar:
            result = train(job, store, checkpoints, bar)
        write_text(options.output.with_name("card.json"), card.to_json())
        write_text(options.history, _table(result.history, inputs.labels).to_csv(index=False))
        save_network(options.output, card, result.weights)
    logger.info("trained %s fold %d on %s", job.configuration.name, options.fold, device)


def _read(options: argparse.Namespace) -> _Inputs:
    description, labels = read_description(options.dataset)
    plan = read_plan(options.plan)
    recipe = _with_budget(recipe_named(plan.recipe), options)
    fold = fold_of(read_folds(options.folds), options.fold)
    digests: dict[str, str] = {}
    for file in options.manifests:
        for identifier, digest in read_contract(Manifest, file).cases.items():
            digests[identifier] = digests.get(identifier, "") + digest
    missing = sorted({*fold.train, *fold.val} - set(digests))
    if missing:
        raise TrainingError(f"fold {options.fold} needs case {missing[0]}, which is in none of the manifests")
    return _Inputs(
        labels=labels,
        configuration=_with_overrides(configuration_of(plan, options.configuration), recipe, options),
        recipe=recipe,
        fold=fold,
        digests=digests,
        channels=len(description["channel_names"]),
    )


def _with_budget(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    keys = ("epochs", "iterations", "validation_iterations")
    given = {key: getattr(options, key) for key in keys if getattr(options, key) is not None}
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=given)})


def _with_overrides(
    configuration: Configuration, recipe: Recipe, options: argparse.Namespace
) -> Configuration:
    architecture = configuration.architecture
    if options.base_width is not None:
        planner = recipe.planner.model_copy(update={"base_features": options.base_width})
        features = features_per_stage(planner, architecture.n_stages, architecture.dimensions)
        architecture = architecture.model_copy(update={"features": features})
    batch_size = configuration.batch_size if options.batch_size is None else options.batch_size
    return configuration.model_copy(update={"architecture": architecture, "batch_size": batch_size})


def _key(job: TrainingJob, digests: dict[str, str]) -> str:
    """Names everything the weights depend on, so that no other job's checkpoint is taken up."""
    cases = sorted({*job.fold.train, *job.fold.val})
    parts = [*job.parts.values(), job.device, *(digests[name] for name in cases)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_KEY_LENGTH]


def _default_workers(threads: int, device: str) -> int:
    """A GPU is fed by every core but one; on the CPU the network itself needs the cores (measured on two)."""
    return 0 if device == "cpu" else max(1, threads - 1)


def _table(history: Iterable[EpochRecord], labels: Labels) -> pd.DataFrame:
    rows = []
    for record in history:
        dice = dict(zip(labels.target_names, record.pseudo_dice, strict=True))
        rows.append(
            {
                "epoch": record.epoch,
                "learning_rate": record.learning_rate,
                "train_loss": record.train_loss,
                "validation_loss": record.validation_loss,
                **{f"pseudo_dice_{name}": value for name, value in dice.items()},
                "mean_pseudo_dice": record.mean,
                "ema_pseudo_dice": record.ema,
                "seconds": record.seconds,
            }
        )
    return pd.DataFrame(rows)
