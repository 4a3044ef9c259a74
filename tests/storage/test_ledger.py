"""Finished cases of a job that may be interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from segflow.storage.ledger import ledger

HOLDER = """
import sys
from pathlib import Path
from segflow.storage.ledger import ledger
with ledger(Path(sys.argv[1])) as finished:
    print(finished.find("a", "k"), flush=True)
    finished.note("a", "k", sys.argv[2])
    sys.stdin.readline()
    if sys.argv[2] != "good":
        raise SystemExit(3)
"""


def hold(file, note):
    command = [sys.executable, "-c", HOLDER, str(file), note]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def interrupted(file, *notes):
    """Note cases, and be stopped."""
    with suppress(KeyboardInterrupt), ledger(file) as finished:
        for case, key, result in notes:
            finished.note(case, key, result)
        raise KeyboardInterrupt


def test_removed_on_success(tmp_path):
    file = tmp_path / "deep" / "unfinished.jsonl"
    with ledger(file) as finished:
        finished.note("a", "k", 1)
        assert file.exists()
    assert list(file.parent.iterdir()) == []


def test_removed_even_if_nothing_was_noted(tmp_path):
    with ledger(tmp_path / "unfinished.jsonl"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_kept_on_failure_and_found_again(tmp_path):
    file = tmp_path / "unfinished.jsonl"
    result = {"file": "ä\n", "scores": [1.5, None, True]}
    interrupted(file, ("a", "k", result), ("b", "k", [1]))
    assert list(tmp_path.iterdir()) == [file]
    with ledger(file) as finished:
        assert finished.find("a", "k") == result
        assert finished.find("b", "k") == [1]
        assert finished.find("c", "k") is None


def test_what_was_made_from_something_else_is_not_found(tmp_path):
    interrupted(tmp_path / "l", ("a", "k", 1))
    with ledger(tmp_path / "l") as finished:
        assert finished.find("a", "other") is None
        assert finished.find("a", "") is None
        assert finished.find("b", "") is None


def test_the_last_note_of_a_case_counts(tmp_path):
    interrupted(tmp_path / "l", ("a", "k", 1), ("a", "other", 2))
    with ledger(tmp_path / "l") as finished:
        assert finished.find("a", "k") is None
        assert finished.find("a", "other") == 2
        finished.note("a", "k", 3)
        assert finished.find("a", "k") == 3


def test_a_torn_note_is_dropped_wherever_it_was_cut(tmp_path):
    file = tmp_path / "l"
    interrupted(file, ("a", "k", 1), ("b", "k", [2, 3]))
    whole = file.read_bytes()
    start = whole.index(b"\n") + 1
    for stop in range(start, len(whole)):
        file.write_bytes(whole[:stop])
        with suppress(KeyboardInterrupt), ledger(file) as finished:
            assert finished.find("a", "k") == 1
            assert finished.find("b", "k") is None
            finished.note("c", "k", 4)  # on a line of its own
            raise KeyboardInterrupt
        assert [json.loads(line) for line in file.read_text().splitlines()] == [["a", "k", 1], ["c", "k", 4]]


@pytest.mark.parametrize("line", [b"\x00\x00\x00\n", b"{\n", b"\n", b"\xff\xfe\n"])
def test_a_garbled_note_and_all_after_it_are_dropped(line, tmp_path):
    """What a crash of the machine may leave: the length is right, the blocks are not."""
    file = tmp_path / "l"
    interrupted(file, ("a", "k", 1))
    file.write_bytes(file.read_bytes() + line + b'["b", "k", 2]\n')
    with ledger(file) as finished:
        assert finished.find("a", "k") == 1
        assert finished.find("b", "k") is None
        assert file.read_text() == '["a", "k", 1]\n'


def test_one_process_at_a_time(tmp_path):
    file = tmp_path / "l"
    first = hold(file, "bad")
    assert first.stdout.readline() == "None\n"
    second = hold(file, "good")
    assert second.stderr.readline() == f"another call is at work in {tmp_path}; waiting for it to end\n"
    time.sleep(0.4)
    assert second.poll() is None
    first.communicate("\n", timeout=60)
    assert first.returncode == 3
    assert second.stdout.readline() == "bad\n"  # it sees what the first has noted
    second.communicate("\n", timeout=60)
    assert second.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_notes_survive_a_kill(tmp_path):
    holder = hold(tmp_path / "l", "noted")
    assert holder.stdout.readline() == "None\n"
    while not (tmp_path / "l").exists() or not (tmp_path / "l").read_text().endswith("\n"):
        time.sleep(0.01)
    holder.kill()
    holder.communicate()
    with ledger(tmp_path / "l") as finished:
        assert finished.find("a", "k") == "noted"


def test_notes_do_not_wait_for_the_disk_each(tmp_path, monkeypatch):
    """The first and what comes a second later are safe from a crash of the machine, all from the process's end."""
    synced, now = [], [100.0]
    monkeypatch.setattr("segflow.storage.ledger.os.fsync", synced.append)
    monkeypatch.setattr("segflow.storage.ledger.time.monotonic", lambda: now[0])
    with ledger(tmp_path / "l.jsonl") as finished:
        for name, later in (("a", 0), ("b", 0.5), ("c", 1.0), ("d", 0.1)):
            now[0] += later
            finished.note(name, "key", 1)
            assert name in (tmp_path / "l.jsonl").read_text()
    assert len(synced) == 2
