"""Finished items: kept if they are whole and made from the same, whatever ended the call that made them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest

from segflow.contracts.fingerprint import CaseMeasurement
from segflow.storage.measurements import keep_or_measure
from segflow.storage.results import ResultFolder, open_journal, unfinished_folder

HOLDER = """
import sys
from pathlib import Path
from segflow.storage.results import open_journal
with open_journal(Path(sys.argv[1])) as journal:
    entry = journal.find("a", "k")
    print(entry and entry.data, flush=True)
    journal.note("a", "k", data=sys.argv[2])
    print("noted", flush=True)
    sys.stdin.readline()
    if sys.argv[2] != "good":
        raise SystemExit(3)
"""


def hold(file, data):
    """Another process that has the journal until it is told to leave."""
    command = [sys.executable, "-c", HOLDER, str(file), data]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def interrupted(file, *notes):
    """Note items, and be stopped."""
    with suppress(KeyboardInterrupt), open_journal(file) as journal:
        for item, key, data in notes:
            journal.note(item, key, data=data)
        raise KeyboardInterrupt


def items_in(file):
    return [json.loads(line)[0] for line in file.read_text().splitlines()]


# The journal of a job.


def test_a_journal_is_removed_on_success_and_kept_on_failure(tmp_path):
    file = tmp_path / "deep" / "unfinished.jsonl"
    data = {"file": "ä\n", "scores": [1.5, None, True]}
    interrupted(file, ("a", "k", data), ("b", "k", [1]))
    assert list(file.parent.iterdir()) == [file]
    with open_journal(file) as journal:
        assert journal.find("a", "k").data == data
        assert journal.find("b", "k").data == [1]
        assert journal.find("c", "k") is None
        assert journal.find("a", "other") is None
    assert list(file.parent.iterdir()) == []


def test_the_last_note_of_an_item_counts(tmp_path):
    interrupted(tmp_path / "j", ("a", "k", 1), ("a", "other", 2))
    with open_journal(tmp_path / "j") as journal:
        assert journal.find("a", "k") is None
        assert journal.find("a", "other").data == 2
        journal.note("a", "k", data=3)
        assert journal.find("a", "k").data == 3


def test_entries_from_elsewhere(tmp_path):
    with open_journal(tmp_path / "earlier") as earlier:
        known = {name: earlier.note(name, "k", data=name) for name in ("a", "b")}
    interrupted(tmp_path / "j", ("b", "new", 1))
    with open_journal(tmp_path / "j", known=known) as journal:
        assert journal.find("a", "k").data == "a"
        assert journal.find("b", "k") is None
        assert journal.find("b", "new").data == 1


def test_a_note_that_was_cut_is_dropped_wherever_that_was(tmp_path):
    file = tmp_path / "j"
    interrupted(file, ("a", "k", 1), ("b", "k", [2, 3]))
    whole = file.read_bytes()
    for stop in range(whole.index(b"\n") + 1, len(whole)):
        file.write_bytes(whole[:stop])
        with suppress(KeyboardInterrupt), open_journal(file) as journal:
            assert journal.find("a", "k").data == 1
            assert journal.find("b", "k") is None
            journal.note("c", "k", data=4)  # on a line of its own
            raise KeyboardInterrupt
        assert items_in(file) == ["a", "c"]


@pytest.mark.parametrize("line", [b"\x00\x00\x00\n", b"{\n", b"\n", b"\xff\xfe\n", b'["b", "k", 1]\n'])
def test_a_garbled_note_and_all_after_it_are_dropped(line, tmp_path):
    """What a crash of the machine may leave: the length is right, the blocks are not."""
    interrupted(tmp_path / "j", ("a", "k", 1))
    whole = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(whole + line + whole.replace(b'"a"', b'"b"'))
    with open_journal(tmp_path / "j") as journal:
        assert journal.find("a", "k").data == 1
        assert journal.find("b", "k") is None
        assert items_in(tmp_path / "j") == ["a"]


def test_one_process_at_a_time_which_sees_what_the_other_noted(tmp_path):
    file = tmp_path / "j"
    first = hold(file, "bad")
    assert first.stdout.readline() == "None\n"
    second = hold(file, "good")
    assert second.stderr.readline() == f"another call is at work in {tmp_path}; waiting for it to end\n"
    first.communicate("\n", timeout=60)
    assert second.stdout.readline() == "bad\n"
    second.communicate("\n", timeout=60)
    assert (first.returncode, second.returncode) == (3, 0)
    assert list(tmp_path.iterdir()) == []


def test_notes_survive_a_kill(tmp_path):
    holder = hold(tmp_path / "j", "kept")
    assert [holder.stdout.readline() for _ in range(2)] == ["None\n", "noted\n"]
    holder.kill()
    holder.communicate()
    with open_journal(tmp_path / "j") as journal:
        assert journal.find("a", "k").data == "kept"


def test_notes_do_not_each_wait_for_the_disk(tmp_path, monkeypatch):
    """The first and what comes a second later are safe from a crash of the machine, all from the process's end."""
    synced, now = [], [100.0]
    monkeypatch.setattr("segflow.storage.results.os.fsync", synced.append)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with open_journal(tmp_path / "j") as journal:
        for name, later in (("a", 0), ("b", 0.5), ("c", 1.0), ("d", 0.1)):
            now[0] += later
            journal.note(name, "key", data=1)
            assert name in items_in(tmp_path / "j")
    assert len(synced) == 2


# Files.


@pytest.fixture(params=["journal", "folder"])
def results(request, tmp_path):
    (tmp_path / "deep").mkdir()
    if request.param == "folder":
        yield ResultFolder(tmp_path)
    else:
        with open_journal(tmp_path / "j") as journal:
            yield journal


@pytest.mark.parametrize(
    "spoil",
    [lambda file: file.unlink(), lambda file: file.write_text(""), lambda file: file.write_text("others")],
)
def test_an_item_is_found_while_its_files_are_what_they_were(spoil, results, tmp_path):
    files = [tmp_path / "a.txt", tmp_path / "deep" / "a.txt"]
    for file in files:
        file.write_text("whole")
    noted = results.note("a", "k", files=files)
    assert list(noted.files) == ["a.txt", "deep/a.txt"]
    assert results.find("a", "k") == noted
    spoil(files[1])
    assert results.find("a", "k") is None
    files[1].write_text("whole")
    assert results.find("a", "k") == noted


def test_a_result_folder_keeps_the_wanted_items_only(tmp_path):
    results = ResultFolder(tmp_path)
    for name in ("a", "b.c"):
        (tmp_path / f"{name}.npy").touch()
        results.note(name, "k", files=[tmp_path / f"{name}.npy"])
    results.keep_only(["b.c"])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["b.c.json", "b.c.npy"]


def test_a_measurement_is_kept(tmp_path):
    foreground = np.array([[0.1, 2.5]], np.float32)
    measured = CaseMeasurement((3, 4, 5), (1.0, 0.1, 1 / 3), 0.7, foreground)
    made = []

    def measure():
        made.append(measured)
        return measured

    for key in ("k", "k", "other"):
        found = keep_or_measure(ResultFolder(tmp_path), "a", key, measure)
        np.testing.assert_array_equal(found.foreground, foreground)
        assert found.foreground.dtype == np.float32
        assert (found.shape_after_crop, found.spacing_mm, found.relative_size) == (
            (3, 4, 5),
            (1.0, 0.1, 1 / 3),
            0.7,
        )
    assert len(made) == 2


# Unfinished work.


def test_an_unfinished_folder_is_found_by_its_key(tmp_path):
    key, other = "k" * 64, "o" * 64
    with suppress(KeyboardInterrupt), unfinished_folder(tmp_path / "work", key) as folder:
        (folder / "checkpoint").touch()
        raise KeyboardInterrupt
    with unfinished_folder(tmp_path / "work", other) as folder:
        assert not list(folder.iterdir())
    with unfinished_folder(tmp_path / "work", key) as folder:
        assert (folder / "checkpoint").exists()
    assert list((tmp_path / "work").iterdir()) == []
