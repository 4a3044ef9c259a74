"""`segflow train`: train one configuration on one fold."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pandas as pd
from cyclopts import Parameter

from segflow.commands.arguments import (
    CORES,
    Ahead,
    Call,
    DatasetFile,
    Device,
    InputFile,
    Minutes,
    OutputFile,
    OutputFolder,
    ResultFile,
    Seed,
    Settings,
    Threads,
    TrackerName,
)
from segflow.commands.console import logger, progress_bar
from segflow.contracts.errors import TrainingError
from segflow.contracts.labels import Labels
from segflow.contracts.model import NetworkCard
from segflow.contracts.plan import Configuration, FoldName, fold_of
from segflow.images.dataset import read_description
from segflow.nnunet.folds import read_folds
from segflow.nnunet.parts import read_configuration
from segflow.planning.topology import features_per_stage
from segflow.processes.signals import stop_requests
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.settings import parse_settings
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe
from segflow.storage.cases import CaseStore
from segflow.storage.files import digest_of, key_of, write_text
from segflow.storage.manifests import digests_of_cases
from segflow.storage.results import unfinished_folder

if TYPE_CHECKING:  # these need torch, and the command line's help does not
    from segflow.commands.watching import Watch
    from segflow.training.job import Pretrained, TrainingJob
    from segflow.training.loop import TrainingResult


def train(
    *,
    dataset: DatasetFile,
    network: InputFile,
    folds: InputFile,
    fold: FoldName,
    prepared: InputFile,
    previous_stage: InputFile | None = None,
    pretrained: InputFile | None = None,
    output: ResultFile,
    history: OutputFile,
    work: OutputFolder,
    values: Settings = Settings(),
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = CORES,
    workers: Ahead | None = None,
    augment: Literal["workers", "device"] = "workers",
    checkpoint_minutes: Minutes = 10.0,
    deterministic: bool = False,
    compile_network: Annotated[bool | None, Parameter(negative="--no-compile-network")] = None,
    trackers: list[TrackerName] | None = None,
    call: Call = Call(),
) -> None:
    """Train one configuration on one fold, or go on where an interrupted training of exactly this job stopped.

    Args:
        dataset: The data set's folder or dataset.json.
        network: The plan's network/CONFIGURATION.json.
        folds: splits_final.json.
        fold: Its number, from 0, or "all", which trains on every case.
        prepared: prepared.json of the prepared cases.
        previous_stage: Manifest of the previous stage's labels (cascade).
        pretrained: Weights to begin with: of segflow's (model.pt, fold_0.safetensors) or nnU-Net's checkpoint.
        output: Weights file.
        history: training.csv, a row per epoch; it grows while the network is trained.
        work: Folder for checkpoints of an unfinished training.
        values: Sections "training" and "augmentation".
        seed: Another seed gives another training.
        device: auto is a GPU if there is one.
        threads: CPU threads.
        workers: Processes that prepare batches (default: on a GPU, as many as there are threads to spare).
        augment: Where patches are transformed: one by one in the workers, or a batch at a time on the device.
        checkpoint_minutes: Save within an epoch whenever this many minutes have passed.
        deterministic: Use only algorithms that give the same bits in every run on the same kind of GPU; slower.
        compile_network: Compile the network with torch.compile (default: on GPUs, from 10,000 steps on, if that works).
        trackers: Programs that are told every epoch; their files lie beside the weights.
        call: The call.

    Source: method.md section 15.
    """
    import torch

    from segflow.commands.watching import Watch  # needs matplotlib
    from segflow.network.device import choose_device
    from segflow.storage.weights import save_network
    from segflow.training.job import TrainingJob

    torch.set_num_threads(threads)
    devices = _shared_among(chosen := choose_device(device), call.gpus)
    description, labels = read_description(dataset)
    recipe = parse_settings(TrainingRecipe, "training", values.settings)
    split = fold_of(read_folds(folds), fold)
    digests = digests_of_cases(sorted({*split.train, *split.val}), prepared, previous_stage)
    planned = read_configuration(network)
    job = TrainingJob(
        configuration=with_overrides(
            planned, recipe, parse_settings(PlannerRecipe, "planning", values.settings)
        ),
        labels=labels,
        channels=len(description["channel_names"]),
        fold=split,
        training=recipe.model_copy(update={"pretrained": None}),
        augmentation=parse_settings(AugmentationRecipe, "augmentation", values.settings),
        device=chosen,
        seed=seed,
        workers=default_workers(threads, devices) if workers is None else workers,
        pretrained=_pretrained(pretrained or recipe.pretrained_file(planned.name), planned),
        checkpoint_s=60 * checkpoint_minutes,
        augment=augment,
        deterministic=deterministic,
        compile=compile_network,
    )
    what = f"train {job.configuration.name} fold {fold}"
    watch = Watch(
        what,
        labels.target_names,
        epochs=recipe.epochs,
        picture=history.with_name("progress.png"),
        table=partial(_write_table, history, labels),
        trackers=trackers or (),
    )
    waited: list[int] = []
    unfinished = work / key_of(*job.parts.values(), *digests.values(), call.code)[:16]
    with unfinished_folder(unfinished, on_wait=lambda: _say_waiting(waited, what, output)) as folder:
        if waited and _written(output) not in {0, *waited}:
            logger.info("another process, perhaps left by a workflow that was killed, has done this training")
            return
        _remove_left(output, call)
        store = _checked(
            CaseStore(prepared.parent, previous_stage=previous_stage and previous_stage.parent),
            digests,
            threads,
        )
        result = _trained(job, store, folder, watch, what, devices)
        card = NetworkCard(
            configuration=job.configuration,
            input_channels=job.input_channels,
            n_outputs=labels.n_outputs,
            fold=fold,
            seed=seed,
            epochs=len(result.history),
            iterations=recipe.iterations,
            device=chosen,
        )
        watch.show([asdict(record) for record in result.history])
        write_text(output.with_name("card.json"), card.to_json())
        _write_table(history, labels, [asdict(record) for record in result.history])
        save_network(output, card, result.weights)
    logger.info("%s: trained on %s", what, ", ".join(devices))


def _remove_left(output: Path, call: Call) -> None:
    """Remove weights that a job of a killed workflow has left: the history beside them is about to be written anew.

    Snakemake has removed them, too, but that job may have finished since.
    """
    if call.job:
        output.unlink(missing_ok=True)


def _checked(store: CaseStore, digests: Mapping[str, str], threads: int) -> CaseStore:
    with ThreadPoolExecutor(threads) as pool:
        deque(pool.map(store.check, digests, digests.values()), maxlen=0)  # raises what one raises
    return store


def _trained(
    job: TrainingJob, store: CaseStore, folder: Path, watch: Watch, what: str, devices: Sequence[str]
) -> TrainingResult:
    from segflow.network.memory import fits_in_memory
    from segflow.storage.weights import CheckpointFile
    from segflow.training.loop import train as run

    if not job.fold.val:
        logger.warning(
            "%s: on all %d cases; none is held out, so nothing is scored", what, len(job.fold.train)
        )
    checkpoints = CheckpointFile(folder / "checkpoint.pt", on_save=watch)
    steps = job.training.epochs * job.training.iterations
    patch = " x ".join(map(str, job.configuration.patch_shape))
    size = f"{what} (patch {patch}, batch {job.configuration.batch_size})"
    with (
        progress_bar(what, steps, per_step=job.configuration.batch_size, item="samples") as bar,
        stop_requests() as stop,
        fits_in_memory(size, device=job.device, remedy=_remedy(job), error=TrainingError),
    ):
        result = run(job, store, checkpoints, bar, stop=stop, devices=devices)
    if len(devices) > 1:
        watch.trackers = ()  # the copy in the process that trained has told them
    return result


def _remedy(job: TrainingJob) -> str:
    """What to do when the job does not fit into memory."""
    remedies = [
        *(["augment in the workers (resources.augment)"] if job.augment == "device" else []),
        "plan for a smaller card with planning.gpu_memory_gb (smaller patch and batch)",
        # In a batch of one no patch is centred on foreground.
        *(["set a smaller training.batch_size"] if job.configuration.batch_size > 2 else []),
    ]
    return ", or ".join(remedies)


def _say_waiting(waited: list[int], what: str, output: Path) -> None:
    waited.append(_written(output))
    logger.warning("%s: another process is at it; waiting for it to end", what)


def _written(file: Path) -> int:
    """When, in nanoseconds; 0 if it is not there."""
    return file.stat().st_mtime_ns if file.exists() else 0


def _shared_among(device: str, gpus: int) -> tuple[str, ...]:
    """The devices of a training: a single one unless the job holds several GPUs and computes on them.

    As CUDA_VISIBLE_DEVICES names no others, the GPUs that the job holds are the first ones for CUDA.
    """
    return tuple(f"{device}:{i}" for i in range(gpus)) if device == "cuda" and gpus > 1 else (device,)


def _pretrained(file: Path | str | None, planned: Configuration) -> Pretrained | None:
    """Weights to begin with. Under another name, the same file gives the same training.

    What the networks do not share, and no tensor shows, is said.
    """
    if file is None:
        return None
    from segflow.nnunet.checkpoints import load_weights_and_card
    from segflow.training.job import Pretrained

    weights, card = load_weights_and_card(Path(file))
    stages = {planned.previous_stage}
    if card is not None:
        stages.add(card.configuration.previous_stage)
        _say_differences(file, card, planned)
    return Pretrained(
        weights=weights,
        digest=digest_of(Path(file)),
        where=str(file),
        adapts_stem=stages == {None},  # the further channels of a cascade are labels
    )


def _say_differences(file: Path | str, card: NetworkCard, planned: Configuration) -> None:
    logger.info(
        "%s: weights of a network of %d channels and %d outputs", file, card.input_channels, card.n_outputs
    )
    for key in ("spacing_mm", "patch_shape", "normalization", "mask_normalization", "batch_dice"):
        there, here = getattr(card.configuration, key), getattr(planned, key)
        if there != here:
            logger.info("%s: %s was %s, and is %s now", file, key, there, here)


def with_overrides(
    configuration: Configuration, recipe: TrainingRecipe, planner: PlannerRecipe
) -> Configuration:
    """A planned configuration with the width and batch that the recipe has instead."""
    architecture = configuration.architecture
    if recipe.base_width is not None:
        narrow = planner.model_copy(update={"base_features": recipe.base_width})
        features = features_per_stage(narrow, architecture.n_stages, architecture.dimensions)
        architecture = architecture.model_copy(update={"features": features})
    sizes = {str(name): size for name, size in recipe.batch_size.items()}
    batch_size = sizes.get(configuration.name, configuration.batch_size)
    return configuration.model_copy(update={"architecture": architecture, "batch_size": batch_size})


def default_workers(threads: int, devices: Sequence[str]) -> int:
    """GPUs are fed by every core but one each; on the CPU the network itself needs the cores (measured on two)."""
    return 0 if devices[0] == "cpu" else max(1, threads - len(devices))


def _write_table(file: Path, labels: Labels, history: Iterable[Mapping[str, Any]]) -> None:
    names = {"mean": "mean_pseudo_dice", "ema": "ema_pseudo_dice"}
    rows = []
    for record in history:
        dice = zip(labels.target_names, record["pseudo_dice"], strict=True)
        row = {key: value for key, value in record.items() if key != "pseudo_dice"}
        rows.append(row | {f"pseudo_dice_{name}": value for name, value in dice})
    write_text(file, pd.DataFrame(rows).rename(columns=names).to_csv(index=False))
