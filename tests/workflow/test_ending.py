"""How a call of Snakemake ends that fails or is interrupted: with what is wrong, where its log is, and how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from segflow.commands import run

SNAKEFILE = """
import os, signal
from pathlib import Path
from snakemake.logging import logger
from segflow.workflow.ending import end_well

if workflow.is_main_process:
    end_well(logger, Path(workflow.current_basedir), Path("results"))
include: "other.smk"

rule all:
    input: "said", "killed"

rule says_why:
    output: "said"
    log: "logs/said.log"
    shell: "echo 2026-01-01 10:00:00,000 ERROR a: no image: mend it > {log}; echo ' more' >> {log}; exit 1 # secret"

rule is_killed:
    output: "killed"
    log: "logs/killed.log"
    shell: "echo 2026-01-01 10:00:00,000 INFO at work > {log}; exit 137 # secret"

rule sleep:
    output: "slept"
    log: "logs/slept.log"
    shell: "exec python -c 'import time; open(\\"asleep\\", \\"w\\"); time.sleep(60)' # secret"
"""
INTERRUPTED = (
    "segflow: interrupted; results keeps what is finished, and trainings up to this moment: "
    "the same call goes on from there"
)
REFUSED = "from snakemake.exceptions import WorkflowError\nraise WorkflowError('name a data set')"
pytestmark = pytest.mark.workflow


@pytest.fixture
def start(tmp_path):
    """Starts a call in a process group of its own, as in a terminal."""

    def begin(*words: str, other: str = "") -> subprocess.Popen[str]:
        (tmp_path / "Snakefile").write_text(SNAKEFILE)
        (tmp_path / "other.smk").write_text(other)
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--cores",
            "2",
            "--keep-going",
            "--quiet",
            "rules",
            "--",
            *words,
        ]
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return begin


def test_failed_jobs_end_with_their_own_errors_and_logs(start):
    call = start("all")
    said = call.communicate()[0].splitlines()
    assert call.returncode == 1
    assert (
        said[-5] == "segflow: results keeps what is finished; mend what follows, and the same call goes on:"
    )
    assert sorted(zip(said[-4::2], said[-3::2], strict=True)) == [
        ("is killed: it ended without saying why: it was killed, by hand, for its memory or for its time",
         "    log: logs/killed.log"),
        ("says why: a: no image: mend it", "    log: logs/said.log"),
    ]  # fmt: skip
    assert not [line for line in said if "secret" in line or "Error" in line]


@pytest.mark.parametrize("strike", [os.killpg, os.kill], ids=["everyone", "Snakemake alone"])
def test_an_interrupted_call_ends_with_what_is_kept(start, tmp_path, strike):
    call = start("slept")
    end = time.monotonic() + 60
    while not (tmp_path / "asleep").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    strike(call.pid, signal.SIGINT)
    said = call.communicate(timeout=30)[0]
    assert call.returncode != 0
    assert said.splitlines()[-1] == INTERRUPTED
    assert "secret" not in said
    assert "Error" not in said.replace("KeyboardInterrupt", "")


def test_a_call_that_is_interrupted_while_the_rules_are_read(start):
    call = start("slept", other="os.kill(os.getpid(), signal.SIGINT)")
    assert call.communicate()[0].splitlines()[-1] == INTERRUPTED
    assert call.returncode == 130


def test_an_error_of_the_rules_is_its_sentence(start):
    call = start(
        "slept",
        other=REFUSED,
    )
    assert call.communicate()[0].splitlines()[-1] == "segflow: name a data set"
    assert call.returncode == 1


CHILD = """
import pathlib, signal, sys, time
deaf = signal.getsignal(signal.SIGINT)
pathlib.Path(sys.argv[1]).touch()
time.sleep(1)
signal.signal(signal.SIGINT, lambda *_: sys.exit(3 if deaf is signal.SIG_IGN else 4))
time.sleep(60)
"""


@pytest.fixture
def listens():
    """Ctrl-C is heard, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listens")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_segflow_run_is_heard_as_soon_as_snakemake_listens(tmp_path, number, monkeypatch):
    ended = []
    wait = subprocess.Popen.wait
    monkeypatch.setattr(
        subprocess.Popen, "wait", lambda self, *_: ended.append(status := wait(self)) or status
    )
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def strike() -> None:
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=strike).start()
    try:
        assert run._call([sys.executable, "-c", CHILD, str(tmp_path / "started")]) == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    assert set(ended) == {3}
    assert Path(tmp_path / "started").exists()


@pytest.mark.usefixtures("listens")
def test_segflow_run_hears_ctrl_c_while_snakemake_is_started(tmp_path, monkeypatch):
    begin = subprocess.Popen.__init__

    def struck(self, *arguments, **options):
        begin(self, *arguments, **options)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess.Popen, "__init__", struck)
    assert run._call([sys.executable, "-c", CHILD, str(tmp_path / "started")]) == 130
