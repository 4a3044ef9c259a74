"""`segflow forecast`: what an experiment will cost, by timing a few batches of its networks."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter

from segflow.commands.arguments import (
    CORES,
    Ahead,
    DatasetFile,
    Device,
    Hours,
    InputFile,
    Minutes,
    Positive,
    ResultFile,
    Settings,
    Threads,
)
from segflow.commands.console import console
from segflow.commands.train import default_workers, with_overrides
from segflow.contracts.forecast import Forecast, NetworkForecast
from segflow.contracts.plan import N_FOLDS, Configuration, Fold, Plan
from segflow.images.dataset import read_description
from segflow.nnunet.plans import read_plan
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.settings import parse_settings
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe
from segflow.reporting.forecast import forecast_lines
from segflow.storage.files import write_text
from segflow.volumes.tiles import tile_corners

if TYPE_CHECKING:
    from segflow.training.job import TrainingJob

_GB: Final = 1e9
#: Of prepared cases: float32 per channel, and labels of two bytes at most.
_IMAGE_BYTES, _LABEL_BYTES = 4, 2


def forecast(
    *,
    dataset: DatasetFile,
    plan: InputFile,
    output: ResultFile | None = None,
    configurations: list[str] | None = None,
    folds: list[str] | None = None,
    of_folds: Positive = N_FOLDS,
    side_by_side: Positive = 1,
    save_probabilities: bool = False,
    values: Settings = Settings(),
    device: Device = "auto",
    threads: Threads = CORES,
    workers: Ahead | None = None,
    augment: Literal["workers", "device"] = "workers",
    minutes: Annotated[Minutes, Parameter(show_default=True)] = 0.8,
    hours: Hours | None = None,
) -> None:
    """Say what an experiment will cost: trainings, steps, memory, disk, and hours on this device.

    A few batches of each network are timed on a made-up case; where these would take too long, smaller ones.

    Args:
        dataset: The data set's folder or dataset.json.
        plan: plans.json.
        output: forecast.json.
        configurations: Those to train (default: all of the plan).
        folds: Those to train (default: five).
        of_folds: Number of folds of the cross-validation.
        side_by_side: Trainings that will run at a time.
        save_probabilities: Count the disk space of the probabilities that are kept for pairs.
        values: Sections "training", "augmentation", "inference" and "planning".
        device: auto is a GPU if there is one.
        threads: CPU threads of a training.
        workers: As in segflow train.
        augment: As in segflow train.
        minutes: Time to spend on it.
        hours: Also say which training.epochs fits into this many hours.
    """
    before = time.process_time()
    import torch

    from segflow.network.device import choose_device
    from segflow.training.job import TrainingJob

    start_s = time.process_time() - before
    torch.set_num_threads(threads)
    chosen = choose_device(device)
    description, labels = read_description(dataset)
    training = parse_settings(TrainingRecipe, "training", values.settings)
    planner = parse_settings(PlannerRecipe, "planning", values.settings)
    planned = read_plan(plan)
    names = configurations or list(planned.configurations)
    jobs = [
        TrainingJob(
            configuration=with_overrides(planned.configuration(name), training, planner),
            labels=labels,
            channels=len(description["channel_names"]),
            fold=Fold(train=(), val=()),
            training=training.model_copy(update={"pretrained": None}),
            augmentation=parse_settings(AugmentationRecipe, "augmentation", values.settings),
            device=chosen,
            seed=0,
            workers=default_workers(threads, [chosen]) if workers is None else workers,
            augment=augment,
            compile=False,
        )
        for name in names
    ]
    fold_names = tuple(folds or map(str, range(of_folds)))
    about = _About(
        plan=planned,
        inference=parse_settings(InferenceRecipe, "inference", values.settings),
        n_cases=description["numTraining"],
        held_out=0.0 if fold_names == ("all",) else description["numTraining"] * len(fold_names) / of_folds,
        kept_maps=1 + labels.n_outputs * save_probabilities,
        seconds=60 * minutes / len(names),
    )
    made = Forecast(
        device=chosen,
        threads=threads,
        folds=fold_names,
        side_by_side=side_by_side,
        planned_gpu_memory_gb=planner.gpu_memory_gb,
        networks=tuple(_network(job, about) for job in jobs),
        start_s=start_s,
    )
    if output is not None:
        write_text(output, made.to_json())
    console.print("\n".join(forecast_lines(made, hours=hours)), soft_wrap=True)


@dataclass(frozen=True)
class _About:
    """What the costs of all networks depend on.

    Attributes:
        held_out: Cases to predict.
        kept_maps: Bytes kept per voxel of a prediction.
        seconds: To spend on each network.
    """

    plan: Plan
    inference: InferenceRecipe
    n_cases: int
    held_out: float
    kept_maps: int
    seconds: float


def _network(job: TrainingJob, about: _About) -> NetworkForecast:
    import torch

    from segflow.training.timing import time_steps

    on_gpu, configuration = job.device != "cpu", job.configuration
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    times = time_steps(job, seconds=about.seconds)
    per_case = times.validation / configuration.batch_size * _passes(configuration, about)
    return NetworkForecast(
        configuration=configuration.name,
        epochs=job.training.epochs,
        iterations=job.training.iterations,
        validation_iterations=job.training.validation_iterations if about.held_out else 0,
        step_s=times.training,
        validation_s=times.validation,
        whole=times.whole,
        prediction_s=about.held_out * per_case,
        gpu_memory_gb=torch.cuda.max_memory_reserved() / _GB if on_gpu else None,
        prepared_gb=_prepared_gb(configuration, about),
        predictions_gb=about.held_out * math.prod(about.plan.median_shape) * about.kept_maps / _GB,
    )


def _passes(configuration: Configuration, about: _About) -> int:
    """Forward passes of one patch for a case of median size."""
    from segflow.prediction.mirroring import mirrorings

    sizes = zip(configuration.median_shape, configuration.patch_shape, strict=True)
    shape = [max(round(median), patch) for median, patch in sizes]
    tiles = len([*tile_corners(shape, configuration.patch_shape, about.inference.step)])
    slices = about.plan.median_shape[0] if configuration.dimensions < 3 else 1
    return tiles * slices * len(mirrorings(configuration.dimensions, mirroring=about.inference.mirroring))


def _prepared_gb(configuration: Configuration, about: _About) -> float:
    """Of its prepared cases, as if all were of median size; 0 if it shares those of an earlier configuration."""
    of_data = (
        one
        for one in about.plan.configurations.values()
        if one.data_identifier == configuration.data_identifier
    )
    if next(of_data).name != configuration.name:
        return 0.0
    slices = about.plan.median_shape[0] if configuration.dimensions < 3 else 1
    voxels = about.n_cases * slices * math.prod(configuration.median_shape)
    return voxels * (_IMAGE_BYTES * len(configuration.normalization) + _LABEL_BYTES) / _GB
