"""Finished items are found if complete and made from the same, however the call that made them ended."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from other_process import OtherProcess

from segflow.contracts.fingerprint import CaseExtent, CaseMeasurement
from segflow.storage.measurements import keep_or_measure
from segflow.storage.results import ResultFolder, open_journal

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


def interrupted(folder, *notes):
    """Note items, then be stopped."""
    with suppress(KeyboardInterrupt), open_journal(folder) as journal:
        for item, key, data in notes:
            journal.note(item, key, data=data)
        raise KeyboardInterrupt


# The journal of a job.


def test_a_journal_is_removed_on_success_and_kept_on_failure(tmp_path):
    folder = tmp_path / "deep" / "unfinished"
    data = {"file": "ä\n", "scores": [1.5, None, True]}
    interrupted(folder, ("a", "k", data), ("b", "k", [1]))
    assert list(folder.parent.iterdir()) == [folder]
    with open_journal(folder) as journal:
        assert journal.find("a", "k").data == data
        assert journal.find("b", "k").data == [1]
        assert journal.find("c", "k") is None
        assert journal.find("a", "other") is None
    assert list(folder.parent.iterdir()) == []


def test_the_last_note_of_an_item_counts(tmp_path):
    interrupted(tmp_path / "j", ("a", "k", 1), ("a", "other", 2))
    with open_journal(tmp_path / "j") as journal:
        assert journal.find("a", "k") is None
        assert journal.find("a", "other").data == 2
        journal.note("a", "k", data=3)
        assert journal.find("a", "k").data == 3


def test_own_entries_take_precedence_over_those_from_elsewhere(tmp_path):
    with open_journal(tmp_path / "earlier") as earlier:
        known = {name: earlier.note(name, "k", data=name) for name in ("a", "b")}
    interrupted(tmp_path / "j", ("b", "new", 1))
    with open_journal(tmp_path / "j", known=known) as journal:
        assert journal.find("a", "k").data == "a"
        assert journal.find("b", "k") is None
        assert journal.find("b", "new").data == 1


def test_an_entry_damaged_by_a_crash_of_the_machine_is_not_found(tmp_path):
    interrupted(tmp_path / "j", ("a", "k", 1), ("b", "k", [2, 3]))
    file = tmp_path / "j" / "b.json"
    whole = file.read_bytes()
    for content in (
        *(whole[:stop] for stop in range(len(whole) - 2)),
        bytes(len(whole)),
        b"\xff\xfe",
        b"[1]",
    ):
        file.write_bytes(content)
        with suppress(KeyboardInterrupt), open_journal(tmp_path / "j") as journal:
            assert journal.find("a", "k").data == 1
            assert journal.find("b", "k") is None
            raise KeyboardInterrupt


def test_one_process_at_a_time_which_sees_what_the_other_noted(tmp_path):
    with OtherProcess(HOLDER, tmp_path / "j", "bad") as first:
        assert first.line() == "None"
        with OtherProcess(HOLDER, tmp_path / "j", "good") as second:
            assert second.line().startswith(
                f"another call is at work in {tmp_path} (process {first.process.pid}"
            )
            assert first.leave() == 3
            assert second.line() == "bad"
            assert second.leave() == 0
    assert list(tmp_path.iterdir()) == []


def test_notes_survive_a_kill(tmp_path):
    with OtherProcess(HOLDER, tmp_path / "j", "kept") as holder:
        assert [holder.line(), holder.line()] == ["None", "noted"]
    with open_journal(tmp_path / "j") as journal:
        assert journal.find("a", "k").data == "kept"


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
def test_an_item_is_found_while_its_files_are_unchanged(spoil, results, tmp_path):
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


def test_a_result_folder_keeps_only_the_wanted_items(tmp_path):
    results = ResultFolder(tmp_path)
    (tmp_path / ".1.c.json").write_text("of a killed process")
    for name in ("a", "b.c"):
        (tmp_path / f"{name}.npy").touch()
        results.note(name, "k", files=[tmp_path / f"{name}.npy"])
    results.keep_only(["b.c"])
    assert sorted(file.name for file in tmp_path.glob("[!.]*")) == ["b.c.json", "b.c.npy"]


def test_a_measurement_is_stored(tmp_path):
    foreground = np.array([[0.1, 2.5]], np.float32)
    extent = CaseExtent(shape_after_crop=(3, 4, 5), spacing_mm=(1.0, 0.1, 1 / 3), relative_size=0.7)
    measured = CaseMeasurement(extent, foreground)
    made = []

    def measure():
        made.append(measured)
        return measured

    for key in ("k", "k", "other"):
        found = keep_or_measure(ResultFolder(tmp_path), "a", key, measure)
        np.testing.assert_array_equal(found.foreground, foreground)
        assert found.foreground.dtype == np.float32
        assert found.extent == extent
    assert len(made) == 2
