"""Three functions at the same time: order, bounds, errors, interruptions."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from segflow.prediction.overlap import overlapped


def plus_one(number):
    return number + 1


@pytest.mark.parametrize("ahead", [0, 1, 2, 50])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_order_and_values(count, ahead):
    found = list(overlapped(range(count), plus_one, lambda n: n * 10, str, ahead=ahead))
    assert found == [(n, str(10 * (n + 1))) for n in range(count)]


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_no_more_is_read_or_kept_than_allowed(ahead):
    read, computed, written = [], [], []
    most_read, most_kept = [], []

    def compute(number):
        computed.append(number)
        most_read.append(len(read) - len(computed))
        most_kept.append(len(computed) - len(written))
        return number

    list(overlapped(range(30), lambda n: read.append(n) or n, compute, written.append, ahead=ahead))
    assert max(most_read) <= ahead
    assert max(most_kept) <= ahead + 1


def test_reading_and_writing_have_their_own_threads():
    names = {"read": set(), "compute": set(), "write": set()}

    def stage(name):
        return lambda item: names[name].add(threading.current_thread()) or item

    list(overlapped(range(9), stage("read"), stage("compute"), stage("write"), ahead=1))
    assert names["compute"] == {threading.current_thread()}
    assert all(len(threads) == 1 for threads in names.values())
    assert len(set().union(*names.values())) == 3


def test_reading_goes_on_while_computing():
    second_is_read, first_is_computed = threading.Event(), []

    def read(number):
        if number == 1:
            second_is_read.set()
        return number

    def compute(number):
        if number == 0:
            first_is_computed.append(second_is_read.wait(20))
        return number

    list(overlapped(range(2), read, compute, plus_one, ahead=1))
    assert first_is_computed == [True]


@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize("where", ["read", "compute", "write"])
def test_an_error_ends_it(where, ahead):
    begun = []

    def stage(name):
        def work(number):
            begun.append((name, number))
            if name == where and number == 3:
                raise LookupError("three")
            return number

        return work

    with pytest.raises(LookupError, match="three"):
        list(overlapped(range(1000), stage("read"), stage("compute"), stage("write"), ahead=ahead))
    assert len(begun) < 40
    assert threading.active_count() == 1


def test_left_in_the_middle():
    with closing(overlapped(range(1000), plus_one, plus_one, plus_one, ahead=2)) as outcomes:
        assert next(outcomes) == (0, 3)
    assert threading.active_count() == 1


def test_interrupted_while_computing():
    written = []

    def compute(number):
        if number == 5:
            raise KeyboardInterrupt
        return number

    with pytest.raises(KeyboardInterrupt):
        list(overlapped(range(1000), plus_one, compute, written.append, ahead=1))
    assert written == [1, 2, 3, 4][: len(written)]
    assert threading.active_count() == 1
