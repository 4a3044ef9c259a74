"""What is written beside a training while it runs."""

from __future__ import annotations

import copy
import types

import pytest

from segflow.commands import watching
from segflow.commands.watching import Watch


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


def make_watch(folder, *, trackers=(), table=lambda history: None):
    picture = folder / "out" / "progress.png"
    return Watch("train 2d fold 0", ["a", "b"], epochs=10, picture=picture, table=table, trackers=trackers)


def state(n, losses=()):
    return {"history": history(n), "losses": list(losses)}


def test_not_more_often_than_every_half_minute(tmp_path, drawn, clock):
    watch = make_watch(tmp_path)
    for time, n in ((1000, 0), (1000, 1), (1010, 2), (1029, 3), (1031, 4), (1040, 4), (1100, 4), (1101, 5)):
        clock.time = float(time)
        watch(state(n))
    assert drawn == [1, 4, 5]
    watch.show(history(6))
    assert drawn == [1, 4, 5, 6]
    assert (tmp_path / "out" / "progress.png").read_bytes() == b"png"


def test_what_goes_wrong_ends_no_training(tmp_path, drawn, clock, caplog, monkeypatch):
    monkeypatch.setattr(watching.logger, "propagate", True)
    (tmp_path / "out" / "progress.png").mkdir(parents=True)
    make_watch(tmp_path)(state(1))
    assert "the progress of the training cannot be shown" in caplog.text


@pytest.fixture
def told(monkeypatch):
    """What trackers have been told, by folder; none of them is installed."""
    found = {}

    def opened(name, folder, training):
        assert training == "train 2d fold 0"
        assert folder not in found
        rows = found[folder] = []
        return lambda epoch, values: rows.append((epoch, values))

    monkeypatch.setattr(watching, "require_tracker", lambda name: None)
    monkeypatch.setattr(watching, "open_tracker", opened)
    return found


def test_trackers_get_every_epoch_once(tmp_path, drawn, clock, told):
    watch = copy.deepcopy(make_watch(tmp_path, trackers=("mlflow", "wandb")))
    assert told == {}
    for n in (2, 2, 3, 3, 4):  # resumed after two epochs, and saved within the third
        watch(state(n))
    assert list(told) == [tmp_path / "out" / "mlflow", tmp_path / "out" / "wandb"]
    for rows in told.values():
        assert [epoch for epoch, _ in rows] == [0, 1, 2, 3]
        assert len(rows[3][1]) == 8
        assert rows[3][1]["pseudo_dice/b"] == 0.25


def test_a_line_and_a_row_per_epoch_also_without_a_terminal(tmp_path, drawn, clock, capsys, monkeypatch):
    written, logged = [], []
    monkeypatch.setattr(watching.logger, "info", lambda text, *words: logged.append(text % words))
    watch = make_watch(tmp_path, table=lambda records: written.append(len(records)))
    for now in (state(1), state(1, [0.5]), state(2), state(4)):
        watch(now)
    watch.show(history(4))  # at the end
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [f"epoch {n}/10" for n in (1, 2, 3, 4)]
    assert logged == lines
    assert lines[1] == (
        "train 2d fold 0: epoch 2/10: loss -0.100 (held out -0.100), pseudo-Dice a 0.500, b 0.250; mean 0.375, "
        "moving 0.300; learning rate 0.01; 2.0 s, 16.0 s left"
    )
    assert written == [1, 2, 4, 4]


@pytest.mark.parametrize(("resumed", "told"), [(state(4), [4]), (state(3, [0.5]), [])])
def test_after_an_interruption_no_epoch_is_told_twice(tmp_path, drawn, clock, capsys, resumed, told):
    watch = make_watch(tmp_path)
    watch(resumed)
    watch.show(resumed["history"])
    assert [int(line.split()[5].split("/")[0]) for line in capsys.readouterr().out.splitlines()] == told


def test_a_bar_is_shown_instead_on_a_terminal(tmp_path, drawn, clock, capsys, monkeypatch):
    monkeypatch.setattr(watching.console, "_force_terminal", True)
    make_watch(tmp_path)(state(1))
    assert capsys.readouterr().out == ""


def test_what_seems_wrong_is_said_once(tmp_path, drawn, clock, capsys):
    watch = make_watch(tmp_path)
    for n in (3, 6, 7):
        watch(state(n))
    said = [line for line in capsys.readouterr().out.splitlines() if ": epoch" not in line]
    assert said == [
        "train 2d fold 0: the loss has not fallen since the first epoch (-0.100): see whether the labels fit the "
        "images, or lower the learning rate"
    ]
