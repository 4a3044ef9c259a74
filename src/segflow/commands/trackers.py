"""Programs in which people follow their trainings: TensorBoard, MLflow and Weights & Biases.

Each is an extra. Nothing leaves the machine unless the program's own environment variables say where to.
"""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from segflow.commands.arguments import TrackerName
from segflow.contracts.errors import ConfigurationError

__all__ = ["Tracker", "open_tracker", "require_tracker"]

#: Takes the number of an epoch and its values by name.
Tracker = Callable[[int, Mapping[str, float]], None]

_PROJECT: Final = "segflow"
#: What MLflow refuses in names.
_UNUSUAL: Final = re.compile(r"[^\w\-. :/]")


def require_tracker(name: TrackerName) -> Any:
    """The Python package of a program; asked for before a training begins.

    Raises:
        ConfigurationError: The program is not installed.
    """
    try:
        if name == "tensorboard":
            import torch.utils.tensorboard

            return torch.utils.tensorboard
        if name == "mlflow":
            import mlflow

            return mlflow
        import wandb
    except ImportError:
        raise ConfigurationError(
            f"resources.trackers names {name}, which is not installed: pip install 'segflow[{name}]', or leave it out"
        ) from None
    return wandb


def open_tracker(name: TrackerName, folder: Path, training: str) -> Tracker:
    """A new record of a training, to be told all epochs from the first on.

    Args:
        name: Of the program.
        folder: For its files, where it writes files.
        training: What the record is called.

    Raises:
        ConfigurationError: The program is not installed.
    """
    return _OPENED[name](folder, training)


def _tensorboard(folder: Path, _: str) -> Tracker:
    writer = require_tracker("tensorboard").SummaryWriter(str(folder), purge_step=0)

    def log(epoch: int, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, epoch)
        writer.flush()

    return log


def _mlflow(folder: Path, training: str) -> Tracker:
    """In a file of SQLite, or at MLFLOW_TRACKING_URI."""
    folder.mkdir(parents=True, exist_ok=True)
    here = f"sqlite:///{folder.absolute() / 'mlflow.db'}"
    client = require_tracker("mlflow").MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or here)
    experiment = client.get_experiment_by_name(_PROJECT)
    number = experiment.experiment_id if experiment else client.create_experiment(_PROJECT)
    run = client.create_run(number, run_name=training).info.run_id
    atexit.register(client.set_terminated, run)

    def log(epoch: int, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            client.log_metric(run, _UNUSUAL.sub("_", key), value, step=epoch)

    return log


def _wandb(folder: Path, training: str) -> Tracker:
    """In files, or as WANDB_MODE says."""
    folder.mkdir(parents=True, exist_ok=True)
    mode = os.environ.get("WANDB_MODE", "offline")
    run = require_tracker("wandb").init(project=_PROJECT, name=training, dir=str(folder), mode=mode)
    return lambda epoch, values: run.log(dict(values), step=epoch)


_OPENED: Final[Mapping[TrackerName, Callable[[Path, str], Tracker]]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}
