"""A process that a stage has started is killed: the stage ends in words within seconds, or goes on without it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise

import psutil
import pytest
from stage_calls import call, plan_words, prepare, preprocess_words, train_words

#: Every stage that starts processes, and the words of its call. A new stage joins here.
CALLS = {
    "check": lambda folder: ["check", folder / "data", "--output", folder / "other.json", "--workers", 2],
    "fingerprint": lambda folder: [
        "fingerprint", folder / "data", "--output", folder / "other.json", "--workers", 2
    ],
    "preprocess": lambda folder: [*preprocess_words(folder, workers=2)],
    "train": lambda folder: [
        "2" if before == "--workers" else word
        for before, word in pairwise(["", *train_words(folder, "other", "training.epochs=1000")])
    ],
}  # fmt: skip
LIMIT_S = 30.0  # a busy machine is slower than a user's


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the stages read: forty phantom cases, so that they take a while."""
    folder = tmp_path_factory.mktemp("made")
    call("phantom", folder / "data", "--cases", 40)
    call("check", folder / "data", "--output", folder / "check.json", "--workers", 2)
    call("fingerprint", folder / "data", "--output", folder / "fingerprint.json", "--workers", 2)
    call("folds", folder / "data", "--output", folder / "folds.json")
    call(*plan_words(folder), "--parts", folder)
    prepare(folder, "2d", workers=2)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("verb", CALLS)
def test_a_killed_worker_is_noticed(verb, made):
    if verb == "preprocess":
        for file in (made / "2d").glob("phantom_*.json"):
            file.unlink()  # so that all cases are made again
    words = [sys.executable, "-m", "segflow", *map(str, CALLS[verb](made))]
    with subprocess.Popen(words, text=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + 2 * LIMIT_S
        while not (workers := psutil.Process(process.pid).children()):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(0.1)
        for worker in workers[:1]:
            os.kill(worker.pid, signal.SIGKILL)
        try:
            _, said = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    said = re.sub(r"\s+", " ", said)
    assert "Traceback" not in said
    assert process.returncode == 0 or re.search(r"worker.* died .*memory", said), said
