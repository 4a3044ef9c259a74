"""A side folder: one process at a time, gone on success, kept on failure."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from segflow.io.workspace import workspace

HOLDER = """
import sys, time
from pathlib import Path
from segflow.io.workspace import workspace
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
    assert not folder.exists()


def test_kept_on_failure(tmp_path):
    with pytest.raises(FileExistsError), workspace(tmp_path / "work") as folder:
        [(folder / "a").touch(exist_ok=False) for _ in range(2)]
    with workspace(tmp_path / "work") as again:
        assert (again / "a").exists()
    assert not again.exists()


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
