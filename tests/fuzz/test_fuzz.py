"""Parsers neither crash, hang nor end in a traceback, whatever they are given; `python -m fuzz` looks for longer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fuzz.targets import TARGETS, Target

from fuzz import run

SECONDS = 60 / len(TARGETS)


def said(outcome):
    """What escaped, whole."""
    return "\n".join(f"{content!r}: {text}" for text, content in outcome.escapes.items())


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name):
    outcome = run.replay(name)
    assert not outcome.escapes, said(outcome)
    assert outcome.counts["read"], "there is no seed that is read, so that mutations of it get anywhere"
    assert set(outcome.counts) <= {"read", "refused"}


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_mutated_seeds(name):
    outcome = run.fuzz(name, seconds=SECONDS, seed=0)
    assert not outcome.escapes, said(outcome)
    assert outcome.counts.total()


def test_all_seeds_belong_to_a_target():
    assert {folder.name for folder in (run.FOLDER / "seeds").iterdir()} == set(TARGETS)


def parse(file: Path):
    """Some ways to escape."""
    what = file.read_text()
    if what == "die":
        raise SystemExit
    if what == "wait":
        time.sleep(1000)
    return {"a": 1}[what]


def test_what_escapes_is_found(monkeypatch, tmp_path):
    """An error, a process that dies, and one that does not answer; what comes after each is read all the same."""
    monkeypatch.setitem(TARGETS, "own", Target("a", parse))
    monkeypatch.setattr(run, "LIMIT_S", 0.5)
    monkeypatch.setattr(run, "FOLDER", tmp_path)
    (tmp_path / "seeds" / "own").mkdir(parents=True)
    for number, what in enumerate(["a", "b", "die", "wait", "a"]):
        (tmp_path / "seeds" / "own" / str(number)).write_text(what)
    outcome = run.replay("own")
    assert outcome.counts == {"read": 2, "escaped": 3}
    files = run.save("own", outcome)
    assert [file.read_text() for file in files] == ["b", "die", "wait"]
    said = [file.with_suffix(".txt").read_text() for file in files]
    assert "KeyError: 'b'" in said[0]
    assert "the process died" in said[1]
    assert "no answer after" in said[2]
