"""Training as the workflow calls it: stopped, resumed, and as wide as it is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from stage_calls import call, train_words

from segflow.commands.main import main
from segflow.io.plans import read_configuration


def start_training(folder, name, log, line):
    """In a process of its own; gives it when its log holds the line."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "segflow", *train_words(folder, name), "--log", str(log)],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (log.exists() and line in log.read_text()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    return process


@pytest.mark.timeout(300)
def test_a_training_that_is_told_to_stop_goes_on_to_the_same_weights(ready):
    call(*train_words(ready, "straight"))
    status = []
    for number, line in ((signal.SIGTERM, "200 steps"), (signal.SIGINT, "resumed after epoch ")):
        process = start_training(ready, "stopped", ready / f"{number}.log", line)
        process.send_signal(number)
        status.append(process.wait(timeout=60))
        assert len(list((ready / "stopped" / "work").rglob("checkpoint.pt"))) == 1
        assert not (ready / "stopped" / "model.pt").exists()
    assert status == [143, 130]
    call(*train_words(ready, "stopped"))
    assert (ready / "stopped" / "model.pt").read_bytes() == (ready / "straight" / "model.pt").read_bytes()
    tables = [pd.read_csv(ready / name / "training.csv") for name in ("straight", "stopped")]
    pd.testing.assert_frame_equal(*(table.drop(columns="seconds") for table in tables), check_exact=True)
    assert list((ready / "stopped" / "work").iterdir()) == []


@pytest.mark.timeout(300)
def test_a_training_that_another_process_is_at_is_not_done_twice(ready):
    first = start_training(ready, "shared", ready / "first.log", "200 steps")
    second = start_training(ready, "shared", ready / "second.log", "another process is at it")
    assert (first.wait(timeout=120), second.wait(timeout=120)) == (0, 0)
    assert "has done this training" in (ready / "second.log").read_text()
    assert "has done this training" not in (ready / "first.log").read_text()
    assert (ready / "shared" / "model.pt").exists()


def test_width_and_batch_of_the_settings(ready):
    words = ["training.iterations=1", "training.epochs=1", 'training.batch_size={"3d_fullres":2,"2d":3}']
    call(*train_words(ready, "out", *words))
    card = json.loads((ready / "out" / "card.json").read_text())
    planned = read_configuration(ready / "network" / "2d.json")
    assert card["configuration"]["batch_size"] == 3
    assert card["configuration"]["architecture"]["features"][:2] == [4, 8]
    assert len(card["configuration"]["architecture"]["features"]) == planned.architecture.n_stages
    assert card["configuration"]["patch_shape"] == list(planned.patch_shape)


def test_a_case_of_the_fold_that_is_not_prepared(ready, capsys):
    folds = json.loads((ready / "folds.json").read_text())
    folds[0]["train"].append("nobody")
    (ready / "folds.json").write_text(json.dumps(folds))
    assert main(train_words(ready, "out")) == 1
    assert "fold 0 needs case nobody, which has not been prepared" in capsys.readouterr().err
