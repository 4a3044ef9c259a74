"""A side folder: one process at a time, gone on success, kept on failure. And the lock itself."""

from __future__ import annotations

import fcntl
import select
import subprocess
import sys
import time

import pytest

from segflow.processes.locks import locked
from segflow.storage.workspace import workspace

HOLDER = """
import sys, time
from pathlib import Path
from segflow.storage.workspace import workspace
with workspace(Path(sys.argv[1])) as folder:
    (folder / "held").touch()
    print("in", flush=True)
    sys.stdin.readline()
    if len(sys.argv) > 2:
        raise SystemExit(3)
"""


def hold(folder, *arguments):
    """Another process that has the folder until it is told to leave."""
    command = [sys.executable, "-c", HOLDER, str(folder), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def entered(process):
    assert process.stdout.readline() == "in\n"


def leave(process):
    process.communicate("\n", timeout=60)
    return process.returncode


def test_removed_on_success(tmp_path):
    with workspace(tmp_path / "deep" / "work") as folder:
        (folder / "a").touch()
    assert list(folder.parent.iterdir()) == []


def test_kept_on_failure(tmp_path):
    with pytest.raises(FileExistsError), workspace(tmp_path / "work") as folder:
        [(folder / "a").touch(exist_ok=False) for _ in range(2)]
    assert list(tmp_path.iterdir()) == [tmp_path / "work"]
    with workspace(tmp_path / "work") as again:
        assert (again / "a").exists()
    assert list(tmp_path.iterdir()) == []


def test_one_process_at_a_time(tmp_path):
    folder = tmp_path / "work"
    first = hold(folder)
    entered(first)
    second = hold(folder, "fail")
    time.sleep(0.4)
    assert second.poll() is None
    (folder / "of the first").touch()
    assert leave(first) == 0
    entered(second)
    assert not (folder / "of the first").exists()  # the first took it away; the second has a new one
    assert leave(second) == 3
    assert (folder / "held").exists()


def test_a_killed_holder_frees_the_folder(tmp_path):
    first = hold(tmp_path / "work")
    entered(first)
    first.kill()
    first.communicate()
    with workspace(tmp_path / "work") as folder:
        assert (folder / "held").exists()


def test_the_lock_is_removed_with_the_lock(tmp_path):
    with locked(tmp_path / "a"):
        assert [file.name for file in tmp_path.iterdir()] == ["a.lock"]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="reason"), locked(tmp_path / "a"):
        raise ValueError("the reason")
    assert list(tmp_path.iterdir()) == []


WAITER = """
import sys
from pathlib import Path
from segflow.processes.locks import locked
print("begun", flush=True)
with locked(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.readline()
"""


def wait_for(path):
    """Another process that wants the lock."""
    command = [sys.executable, "-c", WAITER, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    return process


def test_the_lock_of_a_removed_file_is_no_lock(tmp_path):
    """A waiter gets the old file's lock when its holder leaves, but then that file is gone and others may be in."""
    lock = tmp_path / "a.lock"
    with lock.open("w") as old:
        fcntl.flock(old, fcntl.LOCK_EX)
        waiter = wait_for(tmp_path / "a")
        time.sleep(0.4)
        lock.unlink()
        with lock.open("w") as new:
            fcntl.flock(new, fcntl.LOCK_EX)
            old.close()  # the waiter wakes up
            time.sleep(0.4)
            assert waiter.poll() is None
            assert not _says(waiter, "in", seconds=0.2)
        assert _says(waiter, "in", seconds=20)
    waiter.communicate("\n", timeout=60)
    assert list(tmp_path.iterdir()) == []


def test_a_waiter_gets_a_lock_that_excludes_others(tmp_path):
    """As above, but the holder leaves as `locked` does, and nobody else comes in between."""
    with locked(tmp_path / "a"):
        waiter = wait_for(tmp_path / "a")
        time.sleep(0.4)
    assert _says(waiter, "in", seconds=20)
    third = wait_for(tmp_path / "a")
    assert not _says(third, "in", seconds=0.4)
    waiter.communicate("\n", timeout=60)
    assert _says(third, "in", seconds=20)
    third.communicate("\n", timeout=60)
    assert list(tmp_path.iterdir()) == []


CROWD = """
import sys, time
from pathlib import Path
from segflow.processes.locks import locked
folder = Path(sys.argv[1])
for _ in range(50):
    with locked(folder / "a"):
        (folder / "inside").touch(exist_ok=False)
        time.sleep(0.0005)
        (folder / "inside").unlink()
"""


@pytest.mark.timeout(120)
def test_a_crowd_enters_one_by_one(tmp_path):
    command = [sys.executable, "-c", CROWD, str(tmp_path)]
    crowd = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait(timeout=100) for process in crowd] == [0] * 4
    assert list(tmp_path.iterdir()) == []


def _says(process, text, *, seconds):
    """Whether the process prints the text in time."""
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return bool(ready) and process.stdout.readline() == f"{text}\n"
