"""What is written beside a training while it runs."""

from __future__ import annotations

import copy
import sys
import types
from typing import ClassVar

import pytest

from segflow.commands import watching
from segflow.commands.watching import Watch
from segflow.contracts.errors import ConfigurationError


def history(n):
    return [
        {
            "epoch": epoch, "learning_rate": 0.01, "train_loss": -0.1, "validation_loss": -0.1,
            "pseudo_dice": [0.5, 0.25], "mean": 0.375, "ema": 0.3, "seconds": 2.0,
        }
        for epoch in range(n)
    ]  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    """How many epochs each picture had."""
    found = []
    monkeypatch.setattr(watching, "draw_progress", lambda records, _: found.append(len(records)) or b"png")
    return found


@pytest.fixture
def clock(monkeypatch):
    """A time that a test sets."""
    now = types.SimpleNamespace(time=1000.0)
    monkeypatch.setattr(watching.time, "monotonic", lambda: now.time)
    return now


def test_not_more_often_than_every_half_minute(tmp_path, drawn, clock):
    watch = Watch(tmp_path / "out" / "progress.png", ["a", "b"], logs=None)
    for time, n in ((1000, 0), (1000, 1), (1010, 2), (1029, 3), (1031, 4), (1040, 4), (1100, 4), (1101, 5)):
        clock.time = float(time)
        watch({"history": history(n)})
    assert drawn == [1, 4, 5]
    watch.show(history(6))
    assert drawn == [1, 4, 5, 6]
    assert (tmp_path / "out" / "progress.png").read_bytes() == b"png"


def test_what_goes_wrong_ends_no_training(tmp_path, drawn, clock, caplog, monkeypatch):
    monkeypatch.setattr(watching.logger, "propagate", True)
    (tmp_path / "progress.png").mkdir()
    Watch(tmp_path / "progress.png", ["a", "b"], logs=None)({"history": history(1)})
    assert "the progress of the training cannot be shown" in caplog.text


class Writer:
    made: ClassVar = []

    def __init__(self, folder, purge_step):
        self.folder, self.purge_step, self.scalars = folder, purge_step, []
        self.made.append(self)

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def flush(self):
        self.flushed = len(self.scalars)


@pytest.fixture
def writers(monkeypatch):
    """In place of TensorBoard's."""
    monkeypatch.setattr(Writer, "made", [])
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return Writer.made


def test_tensorboard_gets_every_epoch_once(tmp_path, drawn, clock, writers):
    watch = copy.deepcopy(Watch(tmp_path / "p.png", ["a", "b"], logs=tmp_path / "logs"))
    assert writers == []
    for n in (2, 2, 3, 3, 4):  # resumed after two epochs, and saved within the third
        watch({"history": history(n)})
    (writer,) = writers
    assert (writer.folder, writer.purge_step) == (str(tmp_path / "logs"), 0)
    assert [step for name, _, step in writer.scalars if name == "ema"] == [0, 1, 2, 3]
    assert ("pseudo_dice/b", 0.25, 3) in writer.scalars
    assert writer.flushed == len(writer.scalars) == 4 * 8


def test_tensorboard_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    Watch(tmp_path / "p.png", ["a"], logs=None)
    with pytest.raises(ConfigurationError, match="package tensorboard is not installed"):
        Watch(tmp_path / "p.png", ["a"], logs=tmp_path)
