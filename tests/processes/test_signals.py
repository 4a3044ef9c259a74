"""Stopping on a signal, between two steps."""

from __future__ import annotations

import signal
from signal import SIGINT, SIGTERM

import pytest

from segflow.contracts.errors import Interrupted, TrainingError
from segflow.processes.signals import stop_requests

SIGNALS = (SIGTERM, SIGINT)


@pytest.fixture(autouse=True)
def handlers():
    """The handlers from before must be there again afterwards."""

    def own(_number, _frame):
        raise AssertionError("the handler from before was called")

    before = {number: signal.signal(number, own) for number in SIGNALS}
    yield own
    found = [signal.getsignal(number) for number in SIGNALS]
    for number, handler in before.items():
        signal.signal(number, handler)
    assert found == [own, own]


def work(stop, reached, *signals):
    """Steps during each of which a signal comes in, then one more."""
    for number in (*signals, None):
        if number is not None:
            signal.raise_signal(number)
        reached.append(number)
        if stop():
            raise Interrupted


def test_nothing_happens_without_a_signal():
    reached = []
    with stop_requests() as stop:
        assert not stop()
        work(stop, reached)
    assert reached == [None]


@pytest.mark.parametrize(
    ("number", "end", "code"), [(SIGTERM, SystemExit, 143), (SIGINT, KeyboardInterrupt, None)]
)
def test_a_signal_ends_the_work_after_the_step(number, end, code):
    reached = []
    with pytest.raises(end) as ended, stop_requests() as stop:
        work(stop, reached, number)
    assert reached == [number]
    assert getattr(ended.value, "code", None) == code


@pytest.mark.parametrize(
    ("signals", "n_reached", "end"),
    [
        ((SIGINT, SIGINT), 1, KeyboardInterrupt),  # a second Ctrl-C interrupts at once
        ((SIGTERM, SIGTERM), 2, SystemExit),
        ((SIGTERM, SIGINT), 2, SystemExit),
        ((SIGINT, SIGTERM), 2, KeyboardInterrupt),
    ],
)
def test_the_first_of_two_signals_during_a_step_decides(signals, n_reached, end):
    reached = []
    with pytest.raises(end), stop_requests():
        work(lambda: len(reached) == 2, reached, *signals)
    assert reached == list(signals[:n_reached])


@pytest.mark.parametrize("number", SIGNALS)
def test_work_that_is_done_is_not_interrupted(number):
    with stop_requests() as stop:
        signal.raise_signal(number)
    assert stop()


def test_a_stopped_training_says_what_is_kept():
    with (
        pytest.raises(KeyboardInterrupt, match=r"training is saved .* the same call goes on"),
        stop_requests(),
    ):
        work(lambda: True, [], SIGINT)


def test_other_errors_pass():
    with pytest.raises(TrainingError, match="the loss is nan"), stop_requests():
        raise TrainingError("the loss is nan")
