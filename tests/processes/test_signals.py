"""Being asked to stop by a signal."""

from __future__ import annotations

import signal

import pytest

from segflow.contracts.errors import Interrupted, TrainingError
from segflow.processes.signals import stop_requests

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def handlers():
    """What was there before must be there afterwards."""

    def own(_number, _frame):
        raise AssertionError("the handler from before was called")

    before = {number: signal.signal(number, own) for number in SIGNALS}
    yield own
    found = [signal.getsignal(number) for number in SIGNALS]
    for number, handler in before.items():
        signal.signal(number, handler)
    assert found == [own, own]


def steps(stop, *signals):
    """Work of five steps, during which signals come in; gives the number of steps done."""
    waiting = list(signals)
    for step in range(1, 6):
        if waiting:
            signal.raise_signal(waiting.pop(0))
        if stop():
            raise Interrupted(f"after step {step}")
    return 5


def test_nothing_happens_without_a_signal():
    with stop_requests() as stop:
        assert not stop()
        assert steps(stop) == 5


def test_sigterm_ends_with_its_status():
    with pytest.raises(SystemExit) as ended, stop_requests() as stop:
        steps(stop, signal.SIGTERM)
    assert ended.value.code == 143


def test_ctrl_c_ends_as_ctrl_c():
    with pytest.raises(KeyboardInterrupt), stop_requests() as stop:
        steps(stop, signal.SIGINT)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_interrupts_no_step(number):
    reached = []
    with pytest.raises((SystemExit, KeyboardInterrupt)), stop_requests() as stop:
        steps(lambda: reached.append(stop()) or stop(), number)
    assert reached == [True]


def test_a_second_ctrl_c_interrupts_at_once():
    reached = []
    with pytest.raises(KeyboardInterrupt), stop_requests():
        _raise_twice(signal.SIGINT, reached)
    assert reached == [1]


def _raise_twice(number, reached):
    for time in (1, 2):
        signal.raise_signal(number)
        reached.append(time)


def test_a_second_sigterm_changes_nothing():
    reached = []
    with pytest.raises(SystemExit) as ended, stop_requests() as stop:
        steps(lambda: _raise_twice(signal.SIGTERM, reached) or stop())
    assert reached == [1, 2]
    assert ended.value.code == 143


def test_the_first_signal_decides():
    with pytest.raises(SystemExit), stop_requests() as stop:
        _raise_all((signal.SIGTERM, signal.SIGINT), stop)
    with pytest.raises(KeyboardInterrupt), stop_requests() as stop:
        _raise_all((signal.SIGINT, signal.SIGTERM), stop)


def _raise_all(numbers, stop):
    for number in numbers:
        signal.raise_signal(number)
    steps(stop)


@pytest.mark.parametrize("number", SIGNALS)
def test_work_that_is_done_anyway_is_no_interruption(number):
    with stop_requests() as stop:
        signal.raise_signal(number)
    assert stop()


def test_other_errors_pass():
    with pytest.raises(TrainingError, match="the loss is nan"), stop_requests():
        raise TrainingError("the loss is nan")
