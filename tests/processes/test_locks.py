"""Locks on files: one holder at a time, free as soon as it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from other_process import OtherProcess

from segflow.processes.locks import holder_of, locked, try_lock

HOLDER = """
import os, sys, time
from pathlib import Path
from segflow.processes.locks import locked
with locked(Path(sys.argv[1]), on_wait=lambda: print("waits", flush=True)):
    child = len(sys.argv) > 2
    if child and os.fork() == 0:
        print("in", flush=True)  # it has closed its copy of the lock
        time.sleep(20)
        os._exit(0)
    if not child:
        print("in", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def hold(tmp_path):
    """A function that starts a process that wants the lock, and has it until it gets a line."""
    with ExitStack() as stack:
        yield lambda *more: stack.enter_context(OtherProcess(HOLDER, tmp_path / "a", *more))


def test_the_lock_file_is_removed_with_the_lock(tmp_path):
    with locked(tmp_path / "a"):
        assert [file.name for file in tmp_path.iterdir()] == ["a.lock"]
    with pytest.raises(ValueError, match="reason"), locked(tmp_path / "a"):
        raise ValueError("the reason")
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_has_a_lock_does_not_wait_for_itself(hold, tmp_path):
    with locked(tmp_path / "a"):
        with pytest.raises(RuntimeError, match=r"this process holds the lock .*a\.lock already"):
            try_lock(tmp_path / "a.lock")
        waiter = hold()
        assert waiter.line() == "waits"
    assert waiter.line() == "in"


def test_a_waiter_gets_a_lock_that_excludes_others(hold, tmp_path):
    """Though the holder removes the file that it waited for."""
    with locked(tmp_path / "a"):
        waiter = hold()
        assert waiter.line() == "waits"
    assert waiter.line() == "in"
    third = hold()
    assert third.line() == "waits"
    assert third.line(wait_s=0.4) is None
    assert waiter.leave() == 0
    assert third.line() == "in"
    assert third.leave() == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fork", [(), ("fork",)])
def test_a_killed_holder_frees_the_lock_although_a_child_lives(fork, hold, tmp_path):
    holder = hold(*fork)
    assert holder.line() == "in"
    assert try_lock(tmp_path / "a.lock") is None
    holder.kill()
    with locked(tmp_path / "a", on_wait=pytest.fail):
        pass


def test_the_holder_of_a_lock_is_known(tmp_path):
    lock = try_lock(tmp_path / "a.lock")
    assert lock is not None
    assert holder_of(tmp_path / "a.lock") == (os.getpid() if sys.platform == "linux" else None)
    lock.release()
    assert holder_of(tmp_path / "a.lock") is None


CROWD = """
import sys, time
from pathlib import Path
from segflow.processes.locks import locked
folder = Path(sys.argv[1])
for _ in range(20):
    with locked(folder / "a"):
        (folder / "inside").touch(exist_ok=False)
        time.sleep(0.0005)
        (folder / "inside").unlink()
"""


@pytest.mark.timeout(120)
def test_a_crowd_enters_one_by_one(tmp_path):
    command = [sys.executable, "-c", CROWD, str(tmp_path)]
    crowd = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(4)]
    deadline = time.monotonic() + 100
    assert [process.wait(timeout=deadline - time.monotonic()) for process in crowd] == [0] * 4
    assert list(tmp_path.iterdir()) == []
