"""`segflow train`: train one configuration on one fold."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch

from segflow.commands.console import logger, progress_bar
from segflow.commands.options import add_device_arguments, add_settings_argument, devices_for, fold_of
from segflow.contracts.artefacts import Manifest
from segflow.contracts.errors import TrainingError
from segflow.contracts.labels import Labels
from segflow.contracts.model import NetworkCard
from segflow.contracts.plan import Configuration, Fold
from segflow.images.dataset import read_description
from segflow.network.device import choose_device
from segflow.nnunet.checkpoints import load_weights
from segflow.nnunet.folds import read_folds
from segflow.nnunet.parts import read_configuration
from segflow.planning.topology import features_per_stage
from segflow.processes.signals import stop_requests
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.settings import parse_settings
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe
from segflow.storage.cases import CaseStore
from segflow.storage.files import digest_of, key_of, read_contract, write_text
from segflow.storage.manifests import read_prepared
from segflow.storage.results import unfinished_folder
from segflow.storage.weights import CheckpointFile, save_network
from segflow.training.job import Pretrained, TrainingJob
from segflow.training.loop import train
from segflow.training.memory import fits_in_memory
from segflow.training.monitor import EpochRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument("--network", type=Path, required=True, help="plan's network/CONFIGURATION.json")
    parser.add_argument("--folds", type=Path, required=True, help="splits_final.json")
    parser.add_argument("--fold", type=int, required=True, help="its number, from 0")
    parser.add_argument("--prepared", type=Path, required=True, help="prepared.json of the prepared cases")
    parser.add_argument(
        "--previous-stage", type=Path, help="manifest of the previous stage's labels (cascade)"
    )
    parser.add_argument(
        "--pretrained", type=Path, help="weights to begin with: segflow's model.pt or nnU-Net's checkpoint"
    )
    parser.add_argument("--output", type=Path, required=True, help="weights file")
    parser.add_argument("--history", type=Path, required=True, help="training.csv, a row per epoch")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for checkpoints of an unfinished training"
    )
    add_settings_argument(parser, "training", "augmentation")
    parser.add_argument("--seed", type=int, default=0)
    add_device_arguments(parser)
    parser.add_argument("--workers", type=int, help="processes that prepare batches")
    parser.add_argument(
        "--checkpoint-minutes",
        type=float,
        default=10.0,
        help="save within an epoch after so many minutes (default 10)",
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write TensorBoard logs beside the weights"
    )


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """What was read."""

    labels: Labels
    configuration: Configuration
    recipe: TrainingRecipe
    fold: Fold
    digests: dict[str, str]
    channels: int
    pretrained: Pretrained | None


def run(options: argparse.Namespace) -> None:
    """Train, or go on where an interrupted training of exactly this job stopped. Source: method.md section 15."""
    from segflow.commands.watching import Watch  # noqa: PLC0415  needs matplotlib

    torch.set_num_threads(options.threads)
    inputs = _read(options)
    device = choose_device(options.device)
    devices = devices_for(device, options.gpus)
    previous = None if options.previous_stage is None else options.previous_stage.parent
    store = CaseStore(options.prepared.parent, previous_stage=previous)
    job = TrainingJob(
        configuration=inputs.configuration,
        labels=inputs.labels,
        channels=inputs.channels,
        fold=inputs.fold,
        training=inputs.recipe,
        augmentation=parse_settings(AugmentationRecipe, "augmentation", options.settings),
        device=device,
        seed=options.seed,
        workers=_default_workers(options.threads, devices) if options.workers is None else options.workers,
        pretrained=inputs.pretrained,
        checkpoint_s=60 * options.checkpoint_minutes,
    )
    watch = Watch(
        options.history.with_name("progress.png"),
        job.labels.target_names,
        logs=options.history.with_name("tensorboard") if options.tensorboard else None,
    )
    what = f"train {job.configuration.name} fold {options.fold}"
    steps = job.training.epochs * job.training.iterations
    waited: list[str] = []
    key = key_of(*job.parts.values(), job.device, *inputs.digests.values(), options.code)
    with unfinished_folder(options.work / key[:16], on_wait=lambda: _say_waiting(waited, what)) as folder:
        if waited and options.output.exists() and options.history.exists():
            logger.info("another process, perhaps left by a workflow that was killed, has done this training")
            return
        checkpoints = CheckpointFile(folder / "checkpoint.pt", on_save=watch)
        with (
            progress_bar(what, steps, per_step=job.configuration.batch_size, item="samples") as bar,
            stop_requests() as stop,
            fits_in_memory(_sized(what, job), device=device),
        ):
            result = train(job, store, checkpoints, bar, stop=stop, devices=devices)
        card = NetworkCard(
            configuration=job.configuration,
            input_channels=job.input_channels,
            n_outputs=job.labels.n_outputs,
            fold=options.fold,
            seed=options.seed,
            epochs=len(result.history),
            device=device,
        )
        watch.show([asdict(record) for record in result.history])
        write_text(options.output.with_name("card.json"), card.to_json())
        write_text(options.history, _table(result.history, inputs.labels).to_csv(index=False))
        save_network(options.output, card, result.weights)
    logger.info("trained %s fold %d on %s", job.configuration.name, options.fold, ", ".join(devices))


def _say_waiting(waited: list[str], what: str) -> None:
    waited.append(what)
    logger.warning("%s: another process is at it; waiting for it to end", what)


def _sized(what: str, job: TrainingJob) -> str:
    patch = " x ".join(map(str, job.configuration.patch_shape))
    return f"{what} (patch {patch}, batch {job.configuration.batch_size})"


def _read(options: argparse.Namespace) -> _Inputs:
    description, labels = read_description(options.dataset)
    recipe = parse_settings(TrainingRecipe, "training", options.settings)
    fold = fold_of(read_folds(options.folds), options.fold)
    digests = read_prepared(options.prepared)
    needed = sorted({*fold.train, *fold.val})
    if options.previous_stage is not None:
        before = read_contract(Manifest, options.previous_stage).cases
        digests = {name: digests[name] + before[name] for name in digests.keys() & before.keys()}
    missing = [name for name in needed if name not in digests]
    if missing:
        raise TrainingError(f"fold {options.fold} needs case {missing[0]}, which has not been prepared")
    planner = parse_settings(PlannerRecipe, "planning", options.settings)
    configuration = read_configuration(options.network)
    return _Inputs(
        labels=labels,
        configuration=_with_overrides(configuration, recipe, planner),
        recipe=recipe.model_copy(update={"pretrained": None}),
        pretrained=_pretrained(options.pretrained or recipe.pretrained_file(configuration.name)),
        fold=fold,
        digests={name: digests[name] for name in needed},
        channels=len(description["channel_names"]),
    )


def _pretrained(file: Path | str | None) -> Pretrained | None:
    """A file's name is none of the job: moved elsewhere, it is the same training."""
    if file is None:
        return None
    weights = load_weights(Path(file))
    return Pretrained(weights=weights, digest=digest_of(Path(file)), where=str(file))


def _with_overrides(
    configuration: Configuration, recipe: TrainingRecipe, planner: PlannerRecipe
) -> Configuration:
    architecture = configuration.architecture
    if recipe.base_width is not None:
        narrow = planner.model_copy(update={"base_features": recipe.base_width})
        features = features_per_stage(narrow, architecture.n_stages, architecture.dimensions)
        architecture = architecture.model_copy(update={"features": features})
    sizes = {str(name): size for name, size in recipe.batch_size.items()}
    batch_size = sizes.get(configuration.name, configuration.batch_size)
    return configuration.model_copy(update={"architecture": architecture, "batch_size": batch_size})


def _default_workers(threads: int, devices: Sequence[str]) -> int:
    """GPUs are fed by every core but one each; on the CPU the network itself needs the cores (measured on two)."""
    return 0 if devices[0] == "cpu" else max(1, threads - len(devices))


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
