"""Trackers as they are installed: what they have written is read again; those that are not installed are skipped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from segflow.commands.trackers import open_tracker

ROWS = [{"train_loss": -0.1 * epoch, "pseudo_dice/left (a)": 0.25 * epoch} for epoch in range(3)]


def track(name: str, folder: Path) -> None:
    log = open_tracker(name, folder, "train 2d fold 0")
    for epoch, values in enumerate(ROWS):
        log(epoch, values)


def test_tensorboard(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    track("tensorboard", tmp_path)
    found = events.EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, round(event.value, 2)) for event in found.Scalars("pseudo_dice/left (a)")] == [
        (0, 0.0),
        (1, 0.25),
        (2, 0.5),
    ]


@pytest.mark.filterwarnings("ignore")  # its own
def test_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    track("mlflow", tmp_path)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("segflow").experiment_id])
    assert run.info.run_name == "train 2d fold 0"
    found = client.get_metric_history(run.info.run_id, "pseudo_dice/left _a_")
    assert [(metric.step, metric.value) for metric in found] == [(0, 0.0), (1, 0.25), (2, 0.5)]


def test_wandb(tmp_path, monkeypatch):
    """Offline: a file, and nothing sent. In a process of its own, since the program leaves others behind."""
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    program = (
        "import json, sys; from pathlib import Path; from segflow.commands.trackers import open_tracker; "
        "log = open_tracker('wandb', Path(sys.argv[1]), 'train 2d fold 0'); "
        "[log(epoch, values) for epoch, values in enumerate(json.loads(sys.argv[2]))]"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path), json.dumps(ROWS)], check=True, timeout=120)
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert file.stat().st_size > 0
