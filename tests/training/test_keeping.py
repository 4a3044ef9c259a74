"""When the state of a training is saved, and what a training begins with."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from segflow.contracts.errors import TrainingError
from segflow.training import keeping
from segflow.training.job import Pretrained, make_learner
from segflow.training.loop import train

SHORT = {"epochs": 2, "iterations": 3, "validation_iterations": 2}


class Ticking:
    """Every look at the clock is a second later."""

    def __init__(self):
        self.now = 0

    def monotonic(self):
        self.now += 1
        return self.now


@pytest.fixture
def kept(store, monkeypatch):
    """Epochs and batches behind each saved state."""
    found = []
    save = store.save

    def noting(state):
        found.append((len(state["history"]), len(state["losses"]), state["seconds"] > 0))
        save(state)

    monkeypatch.setattr(store, "save", noting)
    monkeypatch.setattr(keeping, "time", Ticking())
    return found


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (float("inf"), [(1, 0, False), (2, 0, False)]),
        (1, [(0, 1, True), (0, 2, True), (0, 3, True), (1, 0, False), (1, 1, True), (1, 2, True), (1, 3, True),
             (2, 0, False)]),
        (2, [(0, 2, True), (1, 0, False), (1, 2, True), (2, 0, False)]),
    ],
)  # fmt: skip
def test_saved_within_an_epoch_when_the_last_time_is_long_ago(
    job, reader, store, bar, kept, seconds, expected
):
    task = dataclasses.replace(job(recipe=SHORT), checkpoint_s=seconds)
    train(task, reader, store, bar)
    assert kept == expected


def test_killed_after_it_was_saved_within_an_epoch(job, reader, store, bar, bar_that_interrupts):
    straight = train(job(recipe=SHORT), reader, type(store)(), bar)
    task = dataclasses.replace(job(recipe=SHORT), checkpoint_s=0)
    with pytest.raises(KeyboardInterrupt):
        train(task, reader, store, bar_that_interrupts(interrupt_at=3))
    assert len(store.load()["losses"]) == 2
    second = bar_that_interrupts()
    resumed = train(task, reader, store, second)
    assert second.steps == 6
    assert all(torch.equal(resumed.weights[name], tensor) for name, tensor in straight.weights.items())
    first, other = (dataclasses.replace(result.history[0], seconds=0) for result in (straight, resumed))
    assert first == other


def given(job, **changes):
    weights = make_learner(job(**changes)).network.state_dict()
    return Pretrained(weights=weights, digest="abc", where="first.pt")


def test_the_body_of_pretrained_weights_and_fresh_heads(job):
    pretrained = given(job, seed=5)
    fresh = make_learner(job()).network.state_dict()
    found = make_learner(dataclasses.replace(job(), pretrained=pretrained)).network.state_dict()
    for name, tensor in found.items():
        assert torch.equal(tensor, fresh[name] if "seg_layers" in name else pretrained.weights[name]), name


def test_pretrained_weights_of_another_network(job, reader, store, bar):
    task = dataclasses.replace(job(), pretrained=given(job, previous_stage="3d_lowres"))
    with pytest.raises(TrainingError, match=r"first\.pt .*\n  encoder\.stages\.0\.0\.conv\.weight: 4 x 1 x "):
        train(task, reader, store, bar)


def test_pretrained_weights_are_part_of_the_job(job):
    plain = job().parts
    parts = dataclasses.replace(job(), pretrained=given(job)).parts
    assert parts == plain | {"pretrained weights": "abc"}
    assert dataclasses.replace(job(), checkpoint_s=3.0).parts == plain
