"""Training as the workflow calls it: stopped, resumed, and as wide as it is told."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from stage_calls import call, train_words
from tiny_problem import make_job

from segflow.commands import train as train_command
from segflow.contracts.model import NetworkCard
from segflow.network.unet import UNet, build_network
from segflow.nnunet.checkpoints import save_nnunet_checkpoint
from segflow.nnunet.parts import read_configuration
from segflow.storage.files import read_contract
from segflow.storage.weights import load_network, load_tensors, save_network
from segflow.training import loop


def start_training(folder, name, log, line, *words):
    """In a process of its own; gives it when its log holds the line."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "segflow", *train_words(folder, name), "--log", str(log), *words],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (log.exists() and line in log.read_text()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.timeout(300)
def test_a_training_that_is_told_to_stop_goes_on_to_the_same_weights(ready):
    call(*train_words(ready, "straight"))
    status = []
    for number, line in ((signal.SIGTERM, "200 steps"), (signal.SIGINT, "resumed after epoch ")):
        process = start_training(ready, "stopped", ready / f"{number}.log", line)
        time.sleep(0.3)
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
def test_a_job_that_is_killed_leaves_no_weights_beside_a_history_that_has_begun(ready):
    """Another job, left by a workflow that was killed, may have finished since Snakemake removed the results."""
    folder = ready / "begun"
    folder.mkdir()
    (folder / "model.pt").write_bytes(b"of that job")
    process = start_training(ready, "begun", ready / "begun.log", "epoch 2/", "--job")
    process.kill()
    process.wait(timeout=60)
    assert (folder / "training.csv").exists()
    assert not (folder / "model.pt").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_training_that_another_process_is_at_is_not_done_twice(ready):
    first = start_training(ready, "shared", ready / "first.log", "200 steps")
    second = start_training(ready, "shared", ready / "second.log", "another process is at it")
    assert (first.wait(timeout=120), second.wait(timeout=120)) == (0, 0)
    assert "has done this training" in (ready / "second.log").read_text()
    assert "has done this training" not in (ready / "first.log").read_text()
    assert (ready / "shared" / "model.pt").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_training_whose_process_is_killed_is_done_by_the_one_that_waits(ready):
    """Though weights of another call are there."""
    (ready / "killed").mkdir()
    for name in ("model.pt", "training.csv"):
        (ready / "killed" / name).write_bytes(b"old")
    first = start_training(ready, "killed", ready / "third.log", "200 steps")
    second = start_training(ready, "killed", ready / "fourth.log", "another process is at it")
    first.kill()
    first.wait(timeout=60)
    assert second.wait(timeout=120) == 0
    assert (ready / "killed" / "model.pt").read_bytes() != b"old"


def test_trackers_are_told_once_where_other_processes_train(monkeypatch, tmp_path):
    """There a copy of the training's observer tells them."""
    monkeypatch.setattr(loop, "train", lambda *_, **__: None)
    for devices, expected in ((("cpu",), ("mlflow",)), (("cpu", "cpu"), ())):
        watch = SimpleNamespace(trackers=("mlflow",))
        train_command._trained(make_job(), None, tmp_path, watch, "train", devices)
        assert watch.trackers == expected


SMALLER_CARD = "plan for a smaller card with planning.gpu_memory_gb (smaller patch and batch)"


@pytest.mark.parametrize(
    ("batch", "more", "remedy"),
    [
        (3, (), f"{SMALLER_CARD}, or set a smaller training.batch_size"),
        (1, (), SMALLER_CARD),
        (1, ("--augment", "device"), f"augment in the workers (resources.augment), or {SMALLER_CARD}"),
    ],
)
def test_a_device_whose_memory_does_not_suffice(ready, monkeypatch, refused, batch, more, remedy):
    """One sentence with what to do; no weights are left that look whole."""
    calls, original = itertools.count(1), UNet.forward

    def forward(network, images):
        if next(calls) == 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return original(network, images)

    monkeypatch.setattr(UNet, "forward", forward)
    words = train_words(ready, "short", f'training.batch_size={{"2d":{batch}}}', "training.iterations=3")
    words += more
    said = refused(*words)
    assert re.search(
        rf"train 2d fold 0 \(patch .*, batch {batch}\) does not fit into the memory of this", said
    )
    assert said.endswith(f", CPU); {remedy}")
    assert "Traceback" not in said
    assert not list((ready / "short").glob("model.pt"))
    assert not list((ready / "short").glob("training.csv"))
    monkeypatch.undo()
    call(*words)


def test_width_and_batch_of_the_settings(ready):
    words = ["training.iterations=1", "training.epochs=1", 'training.batch_size={"3d_fullres":2,"2d":3}']
    call(*train_words(ready, "out", *words))
    trained = read_contract(NetworkCard, ready / "out" / "card.json").configuration
    planned = read_configuration(ready / "network" / "2d.json")
    assert (trained.batch_size, trained.patch_shape) == (3, planned.patch_shape)
    assert trained.architecture.features[:2] == (4, 8)
    assert trained.architecture.n_stages == planned.architecture.n_stages


def test_a_training_that_ends_early(ready, tmp_path):
    """With weights that hardly move, some epoch is soon not the best."""
    words = [
        "training.iterations=1",
        "training.epochs=40",
        "training.learning_rate=1e-9",
        "training.patience=1",
    ]
    words += ["training.validation_iterations=1"]
    call(*train_words(ready, "out", *words), "--log", tmp_path / "log")
    history = pd.read_csv(ready / "out" / "training.csv")
    emas = list(history["ema_pseudo_dice"])
    assert len(emas) < 40
    assert emas[-1] <= max(emas[:-1])
    assert all(late > early for early, late in itertools.pairwise(emas[:-1]))
    assert json.loads((ready / "out" / "card.json").read_text())["epochs"] == len(emas)
    assert f"ended after {len(emas)} of 40 epochs: no gain for 1" in (tmp_path / "log").read_text()
    assert (ready / "out" / "model.pt").exists()
    assert list((ready / "out" / "work").iterdir()) == []


def test_a_case_of_the_fold_that_is_not_prepared(ready, refused):
    folds = json.loads((ready / "folds.json").read_text())
    folds[0]["train"].append("nobody")
    (ready / "folds.json").write_text(json.dumps(folds))
    assert "case nobody is in the folds, but has not been prepared" in refused(*train_words(ready, "out"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_three_random_moments(ready):
    """Saved ten times a second, so that most moments lie between two checkpoints within an epoch."""
    call(*train_words(ready, "straight"))
    moments = random.Random(0)
    behind = []

    def saved():
        return next((ready / "killed" / "work").rglob("checkpoint.pt"), None)

    for number, line in enumerate(["200 steps", "resumed after", "resumed after"]):
        often = ("--checkpoint-minutes", "0.0016")
        before = 0 if (checkpoint := saved()) is None else checkpoint.stat().st_mtime_ns
        process = start_training(ready, "killed", ready / f"{number}.log", line, *often)
        while (checkpoint := saved()) is None or checkpoint.stat().st_mtime_ns == before:
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.4))
        process.kill()
        assert process.wait(timeout=60) == -signal.SIGKILL
        state = load_tensors(checkpoint)
        behind.append(100 * len(state["history"]) + len(state["losses"]))
    assert 0 < behind[0] < behind[2] < 200
    assert any(steps % 100 for steps in behind)
    call(*train_words(ready, "killed"))
    assert (ready / "killed" / "model.pt").read_bytes() == (ready / "straight" / "model.pt").read_bytes()
    tables = [pd.read_csv(ready / name / "training.csv") for name in ("straight", "killed")]
    pd.testing.assert_frame_equal(*(table.drop(columns="seconds") for table in tables), check_exact=True)
    assert list((ready / "killed" / "work").iterdir()) == []


SHORT = ["training.iterations=1", "training.epochs=1"]
TINY_STEPS = "training.learning_rate=1e-30"


def weights_of(folder, name):
    return load_network(folder / name / "model.pt")[1].state_dict()


def test_fine_tuning_from_weights_of_segflow_and_of_nnunet(ready):
    """With steps too small to be seen, the weights are those it began with, the heads those of the seed."""
    call(*train_words(ready, "first", *SHORT, "training.learning_rate=0.1"), "--seed", 7)
    card, network = load_network(ready / "first" / "model.pt")
    save_nnunet_checkpoint(ready / "first.pth", network.state_dict(), card, mirroring=True)
    call(*train_words(ready, "fresh", *SHORT, TINY_STEPS))
    given, fresh = weights_of(ready, "first"), weights_of(ready, "fresh")
    save_network(ready / "first.safetensors", card, network.state_dict())
    for file in (ready / "first" / "model.pt", ready / "first.pth", ready / "first.safetensors"):
        setting = f'training.pretrained={{"2d":"{file}","3d_fullres":"nowhere.pt"}}'
        call(*train_words(ready, "tuned", *SHORT, TINY_STEPS, setting))
        for name, tensor in weights_of(ready, "tuned").items():
            expected = (fresh if "seg_layers" in name else given)[name]
            torch.testing.assert_close(tensor, expected, rtol=1e-6, atol=1e-6, msg=name)
            assert not torch.equal(given[name], fresh[name]) or name.endswith("bias"), name


def test_fine_tuning_from_other_channels_classes_spacing_and_patch(ready):
    """Weights of two channels and seven classes, whose plan differed."""
    call(*train_words(ready, "first", *SHORT))
    card, _ = load_network(ready / "first" / "model.pt")
    configuration = card.configuration.model_copy(update={"spacing_mm": (9.0, 9.0), "patch_shape": (32, 32)})
    other = build_network(configuration.architecture, input_channels=2, output_channels=8, seed=3)
    changes = {"configuration": configuration, "input_channels": 2, "n_outputs": 8}
    save_network(ready / "other.safetensors", card.model_copy(update=changes), other.state_dict())
    setting = f"training.pretrained={ready / 'other.safetensors'}"
    call(*train_words(ready, "tuned", *SHORT, TINY_STEPS, setting), "--log", ready / "tuned.log")
    found, given = weights_of(ready, "tuned"), other.state_dict()
    stem = "encoder.stages.0.0.conv.weight"
    torch.testing.assert_close(found[stem], given.pop(stem).sum(dim=1, keepdim=True), rtol=1e-5, atol=1e-5)
    for name in (name for name in given if "seg_layers" not in name):
        torch.testing.assert_close(found[name], given[name], rtol=1e-5, atol=1e-5)
    said = (ready / "tuned.log").read_text()
    assert "weights of a network of 2 channels and 8 outputs" in said
    assert "spacing_mm was (9.0, 9.0), and is (" in said
    assert "patch_shape was (32, 32), and is (" in said


@pytest.mark.slow
def test_pretrained_weights_are_part_of_the_job(ready):
    """Other content, another training; the same content under another name, the same one."""
    for seed in (1, 2):
        call(*train_words(ready, f"seed{seed}", *SHORT), "--seed", str(seed))
    shutil.copy(ready / "seed1" / "model.pt", ready / "moved.pt")
    keys = []
    for file in (ready / "seed1" / "model.pt", ready / "moved.pt", ready / "seed2" / "model.pt"):
        process = start_training(
            ready, "keys", ready / f"{len(keys)}.log", "200 steps", "--pretrained", str(file)
        )
        process.terminate()
        process.wait(timeout=60)
        keys.append({path.name for path in (ready / "keys" / "work").iterdir() if path.is_dir()})
        shutil.rmtree(ready / "keys")
    assert keys[0] == keys[1] != keys[2]
    assert len(keys[0]) == 1


def test_pretrained_weights_of_another_network(ready, refused):
    call(*train_words(ready, "wide", *SHORT, "training.base_width=6"))
    words = train_words(ready, "tuned", *SHORT, f"training.pretrained={ready / 'wide' / 'model.pt'}")
    said = refused(*words)
    assert "are those of another network" in said
    assert "encoder.stages.0.0.conv.weight: 4 x 1 x 3 x 3 here, 6 x 1 x 3 x 3 there" in said
    assert "seg_layers" not in said


def test_augmented_on_the_device(ready):
    """The losses are those of patches augmented one by one, but for rounding."""
    tables = []
    for where in ("workers", "device"):
        call(*train_words(ready, where, *SHORT), "--augment", where)
        tables.append(pd.read_csv(ready / where / "training.csv"))
    one, other = (table.drop(columns="seconds") for table in tables)
    pd.testing.assert_frame_equal(one, other, check_exact=False, rtol=1e-3)
    assert not one.equals(other)


def test_a_picture_beside_the_history(ready):
    call(*train_words(ready, "out", *SHORT))
    picture = (ready / "out" / "progress.png").read_bytes()
    assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_tracker_that_is_not_installed(name, ready, refused, monkeypatch):
    for module in ("torch.utils.tensorboard", "mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, module, None)
    assert f"names {name}, which is not installed: pip install 'segflow[{name}]'" in refused(
        *train_words(ready, "out"), "--trackers", name
    )
    assert not (ready / "out" / "work").exists()
