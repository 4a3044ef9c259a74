"""Trainings side by side, from their logs."""

from __future__ import annotations

import json
import os
import re
import time
from datetime import datetime, timedelta

import pytest
from filelock import FileLock

from segflow.commands.main import main
from segflow.reporting.training import epoch_line

RECORD = {
    "train_loss": -0.5, "validation_loss": -0.4, "pseudo_dice": [0.5, 0.7], "mean": 0.6, "ema": 0.55,
    "learning_rate": 0.01, "seconds": 3700.0,
}  # fmt: skip
STEPS, DONE = "train 3d_fullres fold 0: 20 steps", "train 3d_fullres fold 0: trained on cpu"


def epoch(done: int, **changes: float) -> str:
    line = epoch_line([RECORD | changes] * done, ["mean", "organ; mean x"], epochs=10)
    return f"train 3d_fullres fold 0: {line}"


@pytest.fixture
def shown(tmp_path, monkeypatch, capsys):
    """What is shown, line by line, of a training with these log lines, written half an hour ago."""
    monkeypatch.setenv("COLUMNS", "80")
    log = tmp_path / "results/data/nnunet/logs/train/3d_fullres_fold_0.log"
    log.parent.mkdir(parents=True)

    def show(*lines: str, folder: str = "results", rows: int = 1) -> list[str]:
        then = f"{datetime.now() - timedelta(minutes=30):%Y-%m-%d %H:%M:%S},000"
        levels = {line: "ERROR" if "nan" in line else "INFO" for line in lines}
        log.write_text("".join(f"{then} {levels[line]} {line}\n" for line in lines))
        os.utime(log, (time.time() - 1800,) * 2)
        assert main(["watch", str(tmp_path / folder)]) == 0
        said = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
        assert max(map(len, said)) <= 80
        return [
            re.sub(r"[ ━╸╺]{2,}", "  ", line).replace("\N{EN DASH}", "-") for line in said[-1 - rows : -1]
        ]

    show.work = log.parents[2] / "work" / log.stem
    return show


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([STEPS, epoch(1), epoch(2), DONE], "finished  2/10  0.600"),
        ([STEPS, epoch(2, validation_loss=float("nan")), DONE], "finished  2/10  -"),
        ([STEPS, "stopped by signal 2; training continues", "interrupted; training"], "interrupted  -  -"),
        ([STEPS, epoch(2), "the loss is nan in epoch 2"], "failed  2/10  0.600"),
        ([STEPS, epoch(2)], "killed  2/10  0.600"),
        ([STEPS, epoch(2), "the loss is nan", STEPS, epoch(10), DONE], "finished  10/10  0.600"),
    ],
)
def test_trainings_that_have_ended(shown, lines, expected):
    assert shown(*lines) == [f"3d_fullres fold 0  {expected}"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([STEPS], "running  -  -"),
        ([STEPS, epoch(2)], "running  2/10  0.600  7 h 43 min"),
        ([STEPS, epoch(2), STEPS, "resumed after epoch 2, iteration 0"], "resumed  2/10  0.600"),
        ([STEPS, epoch(2), STEPS, "resumed after epoch 2", epoch(3)], "resumed  3/10  0.600  6 h 42 min"),
    ],
)
@pytest.mark.parametrize("folder", ["results", "results/data/nnunet/logs/train"])
def test_trainings_at_work(shown, lines, expected, folder):
    shown.work.mkdir(parents=True)
    with FileLock(shown.work / "abc.lock"):
        assert shown(*lines, folder=folder) == [f"3d_fullres fold 0  {expected}"]


def test_the_folder_of_logs_in_which_one_is(shown, tmp_path, monkeypatch, capsys):
    shown(STEPS, epoch(2), DONE)
    monkeypatch.chdir(tmp_path / "results/data/nnunet/logs/train")
    assert main(["watch", "."]) == 0
    assert "3d_fullres fold 0  finished" in capsys.readouterr().out


def test_a_training_on_another_machine_is_at_work_as_long_as_it_writes(shown):
    (shown.work / "abc").mkdir(parents=True)
    (shown.work / "abc.lock").touch()
    (shown.work / "abc" / "checkpoint.pt").touch()
    assert "running" in shown(STEPS, epoch(2))[0]
    os.utime(shown.work / "abc" / "checkpoint.pt", (time.time() - 3600,) * 2)
    assert "killed" in shown(STEPS, epoch(2))[0]


def test_trainings_that_wait_are_in_the_forecast(shown):
    network = {
        "epochs": 10, "iterations": 2, "validation_iterations": 1, "step_s": 1.0, "validation_s": 1.0, "whole": True,
        "prediction_s": 1.0, "gpu_memory_gb": None, "prepared_gb": 1.0, "predictions_gb": 1.0,
    }  # fmt: skip
    networks = [network | {"configuration": name} for name in ("2d", "3d_fullres")]
    made = {
        "device": "cpu",
        "threads": 1,
        "folds": ["0", "1"],
        "side_by_side": 1,
        "planned_gpu_memory_gb": 8.0,
    }
    file = shown.work.parents[1] / "forecast.json"
    file.write_text(json.dumps(made | {"networks": networks}))
    assert shown(STEPS, epoch(10), DONE, rows=4) == [
        "2d fold 0  queued  0/10  -",
        "2d fold 1  queued  0/10  -",
        "3d_fullres fold 0  finished  10/10  0.600",
        "3d_fullres fold 1  queued  0/10  -",
    ]


def test_a_folder_without_trainings(tmp_path, refused):
    assert f"{tmp_path} has no logs of trainings" in refused("watch", tmp_path)
