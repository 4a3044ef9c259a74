"""Reading, computing and writing at the same time: order, bounds, errors, interruptions."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from segflow.prediction.threads import read_compute_write


def plus_one(number):
    return number + 1


@pytest.mark.parametrize("ahead", [0, 1, 2, 50])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_order_and_values(count, ahead):
    found = list(read_compute_write(range(count), plus_one, lambda n: n * 10, str, ahead=ahead))
    assert found == [(n, str(10 * (n + 1))) for n in range(count)]


@pytest.mark.parametrize("ahead", [1, 3])
def test_no_more_is_read_or_kept_than_allowed(ahead):
    read, computed, written = [], [], []
    most_read, most_kept = [], []

    def compute(number):
        computed.append(number)
        most_read.append(len(read) - len(computed))
        most_kept.append(len(computed) - len(written))
        return number

    list(read_compute_write(range(30), lambda n: read.append(n) or n, compute, written.append, ahead=ahead))
    assert max(most_read) <= ahead
    assert max(most_kept) <= ahead + 1


def test_reading_and_writing_have_threads_of_their_own_and_run_while_computing():
    names = {"read": set(), "compute": set(), "write": set()}
    second_is_read, first_is_computed = threading.Event(), []

    def stage(name):
        def work(number):
            names[name].add(threading.current_thread())
            if name == "read" and number == 1:
                second_is_read.set()
            if name == "compute" and number == 0:
                first_is_computed.append(second_is_read.wait(20))
            return number

        return work

    list(read_compute_write(range(9), stage("read"), stage("compute"), stage("write"), ahead=1))
    assert first_is_computed == [True]
    assert names["compute"] == {threading.current_thread()}
    assert all(len(threads) == 1 for threads in names.values())
    assert len(set().union(*names.values())) == 3


@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize(
    ("where", "problem"),
    [("read", LookupError), ("compute", LookupError), ("compute", KeyboardInterrupt), ("write", LookupError)],
)
def test_an_error_or_an_interruption_ends_it(where, ahead, problem):
    begun = []

    def stage(name):
        def work(number):
            begun.append((name, number))
            if name == where and number == 3:
                raise problem("three")
            return number

        return work

    with pytest.raises(problem, match="three"):
        list(read_compute_write(range(1000), stage("read"), stage("compute"), stage("write"), ahead=ahead))
    assert len(begun) < 40
    assert [number for name, number in begun if name == "write"] == list(
        range(sum(name == "write" for name, _ in begun))
    )
    assert threading.active_count() == 1


def test_a_consumer_may_leave_in_the_middle():
    with closing(read_compute_write(range(1000), plus_one, plus_one, plus_one, ahead=2)) as outcomes:
        assert next(outcomes) == (0, 3)
    assert threading.active_count() == 1
