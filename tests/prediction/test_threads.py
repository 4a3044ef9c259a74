"""Reading, computing and writing at the same time: order, bounds, errors, interruptions."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from segflow.prediction.threads import read_compute_write


def plus_one(number):
    return number + 1


def logged(log, problem=None):
    """Three stages that log (name, number, thread), and raise at three where `problem` says so."""

    def stage(name):
        def work(number):
            log.append((name, number, threading.current_thread()))
            if problem and (name, number) == (problem[0], 3):
                raise problem[1]("three")
            return number

        return work

    return [stage(name) for name in ("read", "compute", "write")]


@pytest.mark.parametrize("ahead", [0, 1, 2, 50])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_order_and_values(count, ahead):
    found = list(read_compute_write(range(count), plus_one, lambda n: n * 10, str, ahead=ahead))
    assert found == [(n, str(10 * (n + 1))) for n in range(count)]


@pytest.mark.parametrize("ahead", [1, 3])
def test_no_more_is_read_or_waits_than_allowed(ahead):
    log, counts = [], []
    read, compute, write = logged(log)

    def counted(number):
        begun = [name for name, *_ in log]
        counts.append([begun.count("read") - number - 1, number + 1 - begun.count("write")])
        return compute(number)

    list(read_compute_write(range(30), read, counted, write, ahead=ahead))
    most_read, most_waiting = map(max, zip(*counts, strict=True))
    assert most_read <= ahead
    assert most_waiting <= ahead + 1


def test_reading_and_writing_run_in_threads_of_their_own_while_computing():
    log, second_is_read = [], threading.Event()
    read, compute, write = logged(log)

    def reading(number):
        if number == 1:
            second_is_read.set()
        return read(number)

    def computing(number):
        assert second_is_read.wait(20)
        return compute(number)

    list(read_compute_write(range(9), reading, computing, write, ahead=1))
    threads = {name: {thread for this, _, thread in log if this == name} for name, *_ in log}
    assert threads["compute"] == {threading.current_thread()}
    assert all(len(each) == 1 for each in threads.values())
    assert len(set().union(*threads.values())) == 3


@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize(
    "problem",
    [("read", LookupError), ("compute", LookupError), ("compute", KeyboardInterrupt), ("write", LookupError)],
)
def test_an_error_or_an_interruption_ends_it(problem, ahead):
    log = []
    with pytest.raises(problem[1], match="three"):
        list(read_compute_write(range(1000), *logged(log, problem), ahead=ahead))
    assert len(log) < 40
    written = [number for name, number, _ in log if name == "write"]
    assert written == list(range(len(written)))
    assert threading.active_count() == 1


def test_a_consumer_may_leave_in_the_middle():
    with closing(read_compute_write(range(1000), plus_one, plus_one, plus_one, ahead=2)) as outcomes:
        assert next(outcomes) == (0, 3)
    assert threading.active_count() == 1
