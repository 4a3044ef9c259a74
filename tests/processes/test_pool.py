"""Cases in processes: order, errors, deaths, interruptions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from segflow.contracts.errors import DatasetError, SegflowError
from segflow.processes.pool import map_cases


def square(number: int) -> int:
    return number * number


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


def slow_at_first(number: int) -> int:
    time.sleep(1 if number == 0 else 0)
    return number


def read_no_json(number: int) -> int:
    return json.loads("no JSON")


def slowly(number: int) -> int:
    time.sleep(0.02 * (number % 3))
    return number


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def leave_a_trace(file: Path) -> None:
    time.sleep(0.02)
    file.touch()


def test_results_come_in_order():
    assert list(map_cases(square, range(20), workers=2)) == [number**2 for number in range(20)]


def test_order_stays_where_cases_take_unequally_long():
    assert list(map_cases(slowly, range(30), workers=3)) == list(range(30))


def test_no_cases():
    assert list(map_cases(square, [], workers=2)) == []


def test_an_error_is_raised_as_it_was():
    with pytest.raises(DatasetError, match="case 3 is odd"):
        list(map_cases(refuse_three, range(10), workers=2))


def test_results_before_an_error_are_given():
    found = map_cases(stumble, range(10), workers=2)
    assert [next(found) for _ in range(5)] == [1 // (number - 5) for number in range(5)]
    with pytest.raises(ZeroDivisionError) as problem:
        next(found)
    assert any("return 1 // (number - 5)" in note for note in problem.value.__notes__)  # where it was


@pytest.mark.parametrize(
    ("work", "kind", "words"),
    [
        (fail_oddly, RuntimeError, "OddError: 0 and more"),
        (read_no_json, RuntimeError, "JSONDecodeError: Expecting"),
        (fail_with_a_lock, RuntimeError, "ValueError: "),
    ],
)
def test_errors_that_do_not_travel_well(work, kind, words):
    with pytest.raises(kind, match=words) as problem:
        list(map_cases(work, range(3), workers=1))
    assert any("Traceback" in note and work.__name__ in note for note in problem.value.__notes__)


@pytest.mark.parametrize(("how", "end"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_counts_though_all_results_are_there(how, end):
    """The first case takes long, so the others are done when its result is given."""
    found = map_cases(slow_at_first, range(600), workers=2)
    assert next(found) == 0
    os.kill(os.getpid(), how)
    with pytest.raises(end):
        next(found)


def test_a_signal_after_the_last_result_counts():
    found = map_cases(square, range(3), workers=2)
    assert [next(found) for _ in range(3)] == [0, 1, 4]
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        next(found)


def test_a_death_while_work_is_handed_out(monkeypatch):
    submit = ProcessPoolExecutor.submit

    def slow_submit(*arguments):
        time.sleep(0.1)
        return submit(*arguments)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", slow_submit)
    with pytest.raises(SegflowError, match="worker process died"):
        list(map_cases(die, range(40), workers=16))


def test_who_looks_no_further_ends_the_work(tmp_path):
    """Cases that nobody has begun are dropped."""
    files = [tmp_path / str(number) for number in range(200)]
    found = map_cases(leave_a_trace, files, workers=2)
    next(found)
    found.close()
    assert 0 < sum(file.exists() for file in files) < len(files)


def test_a_dead_worker_is_an_error_and_no_hang():
    with pytest.raises(SegflowError, match="worker process died"):
        list(map_cases(die, range(4), workers=2))


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


def test_where_processes_begin_with_nothing(tmp_path):
    """As on macOS: all they need is sent to them."""
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
