"""Cases in processes: order, errors, deaths, interruptions."""

from __future__ import annotations

import inspect
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from segflow.contracts.errors import DatasetError, SegflowError
from segflow.processes import pool
from segflow.processes.pool import map_cases


def square(number: int) -> int:
    return number * number


def slowly(number: int) -> int:
    time.sleep(0.02 * (number % 3))
    return number


def slow_at_first(number: int) -> int:
    time.sleep(1 if number == 0 else 0)
    return number


def refuse_three(number: int) -> int:
    if number == 3:
        raise DatasetError("case 3 is odd")
    return number


def stumble(number: int) -> int:
    return 1 // (number - 5)


class OddError(Exception):
    """One that pickle can take apart, but not put together."""

    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")


def fail_oddly(number: int) -> int:
    raise OddError(number, "more")


def fail_with_a_lock(number: int) -> int:
    raise ValueError(number, threading.Lock())


def read_no_json(number: int) -> int:
    return json.loads("no JSON")


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_in_a_message(number: int) -> bytes:
    threading.Timer(0.3, lambda: die(number)).start()
    return bytes(50_000_000)  # more than a pipe takes


def die_with_the_lock(number: int) -> int:
    """As one that dies while it takes a case: the others wait for its lock."""
    queue = inspect.currentframe().f_back.f_locals["queue"]
    queue.taken.get_lock().acquire()
    return die(number)


def spin_at_one(number: int) -> int:
    time.sleep(0.1)  # more than a batch, so that 0 is sent
    while number == 1:
        pass
    return number


def stop_at_one(number: int) -> int:
    time.sleep(0.1)
    if number == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return number


def die_at_three(number: int) -> int:
    time.sleep(0.01)
    return die(number) if number in {3, 7} else number


def die_once(file: Path) -> str:
    """The third case does, beside others: one that dies alone at first would not be tried again."""
    if file.name == "2" and not file.exists():
        file.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return file.name


def leave_a_trace(file: Path) -> None:
    time.sleep(0.02)
    file.touch()


@pytest.mark.parametrize(("work", "n_cases", "workers"), [(square, 20, 2), (square, 0, 2), (slowly, 30, 3)])
def test_results_come_in_order(work, n_cases, workers):
    assert list(map_cases(work, range(n_cases), workers=workers)) == [work(n) for n in range(n_cases)]


def test_an_error_is_raised_as_it_was():
    with pytest.raises(DatasetError, match="case 3 is odd"):
        list(map_cases(refuse_three, range(10), workers=2))


def test_results_before_an_error_are_yielded():
    found = map_cases(stumble, range(10), workers=2)
    assert [next(found) for _ in range(5)] == [1 // (number - 5) for number in range(5)]
    with pytest.raises(ZeroDivisionError) as problem:
        next(found)
    assert any("return 1 // (number - 5)" in note for note in problem.value.__notes__)  # where it was


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (fail_oddly, "OddError: 0 and more"),
        (read_no_json, "JSONDecodeError: Expecting"),
        (fail_with_a_lock, "ValueError: "),
    ],
)
def test_an_error_that_does_not_survive_pickling_is_raised_as_text(work, words):
    with pytest.raises(RuntimeError, match=words) as problem:
        list(map_cases(work, range(3), workers=1))
    assert any("Traceback" in note and work.__name__ in note for note in problem.value.__notes__)


@pytest.mark.parametrize(("how", "end"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
@pytest.mark.parametrize(("work", "n_cases", "before"), [(slow_at_first, 600, 1), (square, 3, 3)])
def test_a_signal_counts_though_all_results_are_there(how, end, work, n_cases, before):
    """When the slow first case is done, the others are, too; or the last result has been yielded."""
    found = map_cases(work, range(n_cases), workers=2)
    assert [next(found) for _ in range(before)] == [work(n) for n in range(before)]
    os.kill(os.getpid(), how)
    with pytest.raises(end):
        next(found)


def test_cases_that_have_not_begun_are_dropped_when_the_caller_stops(tmp_path):
    files = [tmp_path / str(number) for number in range(200)]
    found = map_cases(leave_a_trace, files, workers=2)
    next(found)
    found.close()
    assert 0 < sum(file.exists() for file in files) < len(files)


@pytest.mark.parametrize("work", [die, die_in_a_message, die_with_the_lock])
def test_a_dead_worker_is_an_error_and_no_hang(work):
    with pytest.raises(SegflowError, match="worker process died"):
        list(map_cases(work, range(8), workers=4))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("work", [spin_at_one, stop_at_one])
def test_a_worker_that_does_not_end_is_not_waited_for(work, monkeypatch):
    """It spins, or is stopped, when the caller has had enough."""
    monkeypatch.setattr(pool, "_LEAVE_S", 0.5)
    found = map_cases(work, range(8), workers=2)
    assert next(found) == 0
    start = time.monotonic()
    found.close()
    assert time.monotonic() - start < 5
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(("n_cases", "workers"), [(1, 1), (4, 2), (30, 1), (30, 3), (200, 2)])
def test_the_case_whose_process_dies_is_told_and_the_others_go_on(n_cases, workers):
    found = list(map_cases(die_at_three, range(n_cases), workers=workers, if_died=lambda number: -number))
    assert found == [-number if number in {3, 7} else number for number in range(n_cases)]


def test_a_case_whose_process_died_is_tried_again_alone(tmp_path):
    files = [tmp_path / str(number) for number in range(6)]
    found = map_cases(die_once, files, workers=3, if_died=lambda file: f"{file.name} died")
    assert list(found) == [file.name for file in files]


@pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="processes are not forked here")
@pytest.mark.parametrize("started", [0, 1, 2])
def test_a_process_that_cannot_be_started_is_an_error_and_no_hang(started, monkeypatch):
    forked, fork = [], os.fork

    def failing_fork():
        if len(forked) == started:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        forked.append(fork())
        return forked[-1]

    monkeypatch.setattr(os, "fork", failing_fork)
    with pytest.raises(
        SegflowError, match=r"cannot be started \(.*unavailable\); try again with fewer --work"
    ):
        list(map_cases(square, range(20), workers=4))
    assert not multiprocessing.active_children()


SPAWNED = """
import multiprocessing
from functools import partial
from segflow.processes.pool import map_cases
def power(n, to):
    return n**to
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    print(list(map_cases(partial(power, to=2), range(5), workers=2)))
"""

PROGRAM = """
import time
from segflow.processes.pool import map_cases
def work(n):
    print("begun", flush=True)
    time.sleep(0.3)
if __name__ == "__main__":
    list(map_cases(work, range(1000), workers=2))
"""


def test_spawned_processes_are_sent_their_work(tmp_path):
    """As on macOS, where they inherit nothing."""
    program = tmp_path / "program.py"
    program.write_text(SPAWNED)
    done = subprocess.run(
        [sys.executable, str(program)], check=False, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.returncode) == ("[0, 1, 4, 9, 16]\n", 0), done.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_an_interruption(how, tmp_path):
    """Ctrl-C reaches the whole group; SIGKILL only the parent."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        if how == signal.SIGINT:
            os.killpg(process.pid, how)
        else:
            process.kill()
        process.wait(timeout=20)
        deadline = time.monotonic() + 10
        while group_lives(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not group_lives(process.pid)


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
