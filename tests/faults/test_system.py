"""What the system refuses is one sentence, with the file and what to do; what is wrong with segflow says so."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch

from segflow.commands import folds
from segflow.commands.main import main
from segflow.contracts.errors import sentence_of
from segflow.storage.files import write_array, write_text
from segflow.storage.weights import save_tensors


def run(*words, before=None, **streams):
    command = [sys.executable, "-m", "segflow", *map(str, words)]
    return subprocess.run(command, text=True, preexec_fn=before, timeout=300, check=False, **streams)


def small_files():
    """As a disk with little room."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))


@pytest.fixture
def little_room():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "write",
    [
        lambda file: write_array(file, np.zeros(10_000)),
        lambda file: write_text(file, "a" * 10_000),
        lambda file: save_tensors(file, {"a": torch.zeros(10_000)}),
    ],
)
@pytest.mark.usefixtures("little_room")
def test_a_file_that_cannot_be_finished_is_named_and_not_left(write, tmp_path):
    with pytest.raises(OSError, match=r".") as problem:
        write(tmp_path / "a.npy")
    assert str(tmp_path / "a.npy") in sentence_of(problem.value)
    assert not list(tmp_path.iterdir())


def test_no_room(tmp_path):
    done = run("phantom", tmp_path / "data", "--cases", 1, before=small_files, capture_output=True)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("segflow:")]
    assert "data" in line
    assert "Traceback" not in done.stderr


@pytest.fixture
def said_of(monkeypatch, tmp_path, capsys):
    """What a command says of an error that is met in it."""

    def ask(problem):
        def fail(*_, **__):
            raise problem

        (tmp_path / "dataset.json").touch()
        monkeypatch.setattr(folds, "read_dataset", fail)
        assert main(["folds", str(tmp_path), "--output", str(tmp_path / "folds.json")]) == 1
        return capsys.readouterr().err

    return ask


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "a/b.npy"),
            "a/b.npy: No space left on device; make room",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", b"a"),
            "a: Read-only file system; change its permissions",
        ),
        (
            OSError("45864 requested and 10208 written"),
            "45864 requested and 10208 written; see whether the disk",
        ),
        (OSError(errno.EIO, "Input/output error", "c"), "c: Input/output error; see to the disk or network"),
        (MemoryError(), "there is not enough memory; use fewer --workers"),
    ],
)
def test_what_is_said(problem, words, said_of):
    said = " ".join(said_of(problem).split())
    assert said.startswith(f"segflow: {words}")
    assert "Traceback" not in said


@pytest.mark.parametrize("problem", [ZeroDivisionError("by zero"), ValueError("an odd value")])
def test_a_fault_of_ours_shows_where_it_is_and_says_what_it_is(problem, said_of):
    said = said_of(problem)
    assert "this is a fault of segflow itself; please report it" in said
    assert "Traceback" in said
    assert str(problem) in said


def closed():
    os.close(1)
    os.close(2)


@pytest.mark.parametrize("how", ["closed", "left"])
def test_work_goes_on_when_nobody_reads_what_is_said(how, tmp_path):
    """The streams are closed from the start, or their reader leaves."""
    ours, theirs = os.pipe()
    os.close(ours)
    streams = {} if how == "closed" else {"stdout": theirs, "stderr": theirs}
    done = run(
        "phantom", tmp_path / "data", "--cases", 2, before=closed if how == "closed" else None, **streams
    )
    os.close(theirs)
    assert done.returncode == 0
    assert len(list((tmp_path / "data" / "imagesTr").iterdir())) == 2
