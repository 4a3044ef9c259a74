"""Locks on files, on file systems that have them and others: one holder at a time, free as soon as it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from other_process import OtherProcess

from segflow.processes import locks
from segflow.processes.locks import holder_of, locked, named, try_lock

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


#: What comes before a program so that its file system has no locks.
WITHOUT = """
import fcntl
def flock(*_):
    raise OSError({}, "no locks here")
fcntl.flock = flock
"""


@pytest.fixture(params=[None, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def without(request, monkeypatch):
    """What comes before the program of another process so that it has the file system of this one."""
    if request.param is None:
        return ""

    def flock(*_):
        raise OSError(request.param, "no locks here")

    monkeypatch.setattr(fcntl, "flock", flock)
    return WITHOUT.format(request.param)


@pytest.fixture
def hold(tmp_path, without):
    """A function that starts a process that wants the lock, and has it until it gets a line."""
    with ExitStack() as stack:
        yield lambda *more: stack.enter_context(OtherProcess(without + HOLDER, tmp_path / "a", *more))


def test_the_lock_file_is_removed_with_the_lock(tmp_path, without):
    with locked(tmp_path / "a"):
        assert {file.name for file in tmp_path.iterdir()} == {
            "a.lock",
            *(["a.lock.owner"] if without else []),
        }
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


def test_the_holder_of_a_lock_is_known(hold, without, tmp_path):
    file = tmp_path / "a.lock"
    lock = try_lock(file)
    assert lock is not None
    assert holder_of(file) == (os.getpid() if without or sys.platform == "linux" else None)
    assert f"process {os.getpid()}" in named(file)
    assert (f" of {socket.gethostname()}; if it is gone, remove {file}.owner" in named(file)) == bool(without)
    lock.release()
    assert holder_of(file) is None
    assert named(file) == ""


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_an_owner_on_another_machine_is_waited_for_and_named(number, tmp_path, monkeypatch, caplog):
    """Whether it lives cannot be known here."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(number, "no locks here")))
    monkeypatch.setattr(locks, "_say_unsupported", locks._say_unsupported.__wrapped__)
    (tmp_path / "a.lock.owner").write_text("17\nelsewhere\n")
    with caplog.at_level("INFO", "segflow"):
        assert try_lock(tmp_path / "a.lock") is None
    assert "has no locks (no locks here)" in caplog.text
    assert named(tmp_path / "a.lock").startswith(" (process 17 of elsewhere; if it is gone, remove ")


def test_a_link_is_refused_and_a_file_of_others_is_kept(tmp_path, without):
    target = tmp_path / "precious"
    target.write_text("content")
    (tmp_path / "a.lock.owner" if without else tmp_path / "a.lock").symlink_to(target)
    with pytest.raises(OSError, match=r"a\.lock"), locked(tmp_path / "a"):
        pass
    (tmp_path / "b.lock").write_text("mine")
    with locked(tmp_path / "b"):
        pass
    assert target.read_text() == "content"
    assert (tmp_path / "b.lock").read_text() == "mine"


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
def test_a_crowd_enters_one_by_one(tmp_path, without):
    command = [sys.executable, "-c", without + CROWD, str(tmp_path)]
    crowd = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(4)]
    deadline = time.monotonic() + 100
    assert [process.wait(timeout=deadline - time.monotonic()) for process in crowd] == [0] * 4
    assert list(tmp_path.iterdir()) == []
