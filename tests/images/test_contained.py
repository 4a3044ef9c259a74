"""Reading in a process that may die: crashes, endless loops, forks, interruptions, and what is sent."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from image_samples import save
from own_process import big_array, crash, crash_later, fail, hang, size_of

from segflow.contracts.errors import DatasetError
from segflow.images import contained as module
from segflow.images.contained import contained
from segflow.images.image_files import read_voxels
from segflow.processes.pool import map_cases


@pytest.fixture
def file(tmp_path):
    return save(tmp_path / "a_0000.mha", np.ones((2, 3, 4), np.uint8))


def test_a_crash_is_an_error_and_the_next_file_is_read(file):
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"the library that reads it crashed \(SIGABRT\)"):
            contained(crash, file)
        assert contained(size_of, file)[1] == 24


def test_a_process_that_an_earlier_file_has_broken_is_replaced(file):
    assert [contained(crash_later, file) for _ in range(4)] == [file.name] * 4


def test_an_endless_loop_is_an_error_and_no_process_is_left(file, monkeypatch):
    contained(size_of, file)
    reader = module._threads.reader
    monkeypatch.setattr(module, "_PATIENCE_S", 0.3)
    start = time.monotonic()
    with pytest.raises(DatasetError, match="was not ready after 0 s"):
        contained(hang, file)
    assert time.monotonic() - start < 5
    assert reader.process.poll() == -signal.SIGKILL
    monkeypatch.undo()
    assert contained(size_of, file)[1] == 24


def test_a_process_that_is_killed_while_it_reads_is_replaced(file):
    contained(size_of, file)
    reader = module._threads.reader
    threading.Timer(0.3, lambda: os.kill(reader.process.pid, signal.SIGKILL)).start()
    os.kill(reader.process.pid, signal.SIGSTOP)  # it has not answered yet when it is killed
    assert contained(size_of, file)[1] == 24
    assert module._cause_of_death(-signal.SIGKILL).startswith(
        "the process that read it was killed, usually because"
    )


def test_errors_and_arrays_are_passed_on(file):
    with pytest.raises(ValueError, match=r"a_0000\.mha is odd"):
        contained(fail, file)
    expected, found = big_array(file), contained(big_array, file)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


def test_relative_names_and_other_folders(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert read_voxels(file.relative_to(file.parent), case="a").sum() == 24


def test_processes_are_kept_and_a_fork_has_its_own(file):
    process, _ = contained(size_of, file)
    assert contained(size_of, file)[0] == process
    others = {number for number, _ in map_cases(_ask, [file] * 6, workers=2)}
    assert process not in others
    assert contained(size_of, file)[0] == process


def _ask(file):
    return contained(size_of, file)


def test_no_process_outlives_the_one_that_reads(file):
    processes = {number for number, _ in map_cases(_ask, [file] * 6, workers=2)}
    end = time.monotonic() + 5
    while any(_is_alive(number) for number in processes) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [number for number in processes if _is_alive(number)]


def _is_alive(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
