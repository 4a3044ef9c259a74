"""What a command does as a job: it records how its result came about, and ends with the workflow."""

from __future__ import annotations

import argparse
import hashlib
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from segflow.contracts.artefacts import Provenance
from segflow.contracts.errors import PlanError
from segflow.storage.files import digest_of, read_contract, versions
from segflow.workflow.job import provenance_file, recorded

COMMAND = ("segflow", "verb", "--job")
CODE = {"segflow.commands.verb": "abc"}


@pytest.fixture
def options(tmp_path):
    """Of a verb that reads two files and a data set, and writes one."""
    for name in ("a.json", "b.json", "data/dataset.json", "work/checkpoint.pt", "v.log", "elsewhere.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"content of {name}")
    return argparse.Namespace(
        plan=tmp_path / "a.json",
        chunks=[tmp_path / "a.json", tmp_path / "b.json"],
        dataset=tmp_path / "data",
        models=tmp_path / "work",
        missing=tmp_path / "nobody.json",
        settings=["training.epochs=3", "elsewhere.txt"],
        chunk=(0, 1),
        seed=3,
        previous=None,
        output=tmp_path / "out" / "result.json",
        work=tmp_path / "work" / "checkpoint.pt",
        log=tmp_path / "v.log",
        run=print,
    )


def work(options, content="made"):
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(content)


def made(options):
    return read_contract(Provenance, provenance_file(options.output))


def test_it_lies_beside_the_result():
    assert provenance_file(Path("a/model.pt")) == Path("a/model.pt.provenance")


def test_what_is_recorded(options, tmp_path):
    before = datetime.now(UTC) - timedelta(seconds=1)
    with recorded(options, COMMAND, CODE):
        assert not provenance_file(options.output).exists()
        work(options)
    found = made(options)
    assert found.command == COMMAND
    assert found.code == CODE
    assert found.versions == versions()
    assert found.device == "cpu"
    read = (tmp_path / name for name in ("a.json", "b.json", "data/dataset.json"))
    assert found.inputs == {str(file): digest_of(file) for file in read}
    started, finished = map(datetime.fromisoformat, (found.started, found.finished))
    assert before <= started <= finished <= datetime.now(UTC)
    assert started.utcoffset() == timedelta(0)


@pytest.mark.parametrize("name", ["output", "manifest", "history", "work", "log", "parts"])
def test_what_a_command_writes_is_no_input(name, tmp_path):
    old = tmp_path / "old"
    old.write_text("of an earlier call")
    given = {"output": tmp_path / "result.json", name: old}
    with recorded(argparse.Namespace(**given), COMMAND, CODE):
        pass
    result = old if name in ("output", "manifest") else tmp_path / "result.json"
    assert read_contract(Provenance, provenance_file(result)).inputs == {}


def test_inputs_are_those_that_were_read(options):
    """A file that is changed while the command runs was read as it was before."""
    before = hashlib.sha256(options.plan.read_bytes()).hexdigest()
    with recorded(options, COMMAND, CODE):
        options.plan.write_text("later")
    assert made(options).inputs[str(options.plan)] == before


def test_the_manifest_goes_before_the_folder(tmp_path):
    given = argparse.Namespace(output=tmp_path / "labels", manifest=tmp_path / "labels" / "manifest.json")
    with recorded(given, COMMAND, CODE):
        pass
    assert [file.name for file in tmp_path.rglob("*.provenance")] == ["manifest.json.provenance"]


@pytest.mark.parametrize("given", [{}, {"output": None}, {"manifest": None, "output": None}])
def test_no_result_no_record(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with recorded(argparse.Namespace(**given), COMMAND, CODE):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("problem", [PlanError("no"), KeyboardInterrupt(), SystemExit(143), MemoryError()])
def test_a_failed_run_records_nothing(options, problem):
    with pytest.raises(type(problem)), recorded(options, COMMAND, CODE):
        raise problem
    assert not provenance_file(options.output).exists()


def test_a_failed_run_leaves_the_record_of_the_result_that_is_there(options):
    with recorded(options, COMMAND, CODE):
        work(options)
    file = provenance_file(options.output)
    before = file.read_text(), file.stat().st_mtime_ns
    with pytest.raises(PlanError), recorded(options, ("segflow", "other"), CODE):
        raise PlanError("no")
    assert (file.read_text(), file.stat().st_mtime_ns) == before


def test_the_result_is_the_same_at_another_time(options):
    with recorded(options, COMMAND, CODE):
        work(options)
    before = options.output.read_bytes()
    with recorded(options, ("segflow", "other"), CODE):
        work(options)
    assert options.output.read_bytes() == before
    assert made(options).command == ("segflow", "other")


def test_a_command_that_is_a_job(tmp_path):
    """As the workflow calls it."""
    file, output = tmp_path / "chunk_0.json", tmp_path / "prepared.json"
    file.write_text('{"cases": {"a": "1"}}')
    words = ["manifest", "--job", "--chunks", str(file), "--output", str(output)]
    subprocess.run([sys.executable, "-m", "segflow", *words], check=True)
    found = read_contract(Provenance, provenance_file(output))
    assert found.command == ("segflow", *words)
    assert found.inputs == {str(file): digest_of(file)}
    assert {"segflow.commands.manifest", "segflow.storage.manifests"} <= set(found.code)
    assert "segflow.commands.train" not in found.code
    provenance_file(output).unlink()
    subprocess.run([sys.executable, "-m", "segflow", *words[:1], *words[2:]], check=True)
    assert not provenance_file(output).exists()
    file.write_text("{")
    assert subprocess.run([sys.executable, "-m", "segflow", *words], check=False).returncode == 1
    assert not provenance_file(output).exists()


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
time.sleep(60)
"""
CHILD = """
import signal, sys, time
from pathlib import Path
from segflow.processes.signals import end_with_parent
def note(number, frame):
    Path(sys.argv[1], "told").write_text(str(number))
    sys.exit(0)
signal.signal(signal.SIGTERM, note)
end_with_parent()
Path(sys.argv[1], "ready").touch()
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl")
@pytest.mark.timeout(90)
def test_a_job_is_told_when_the_workflow_is_killed(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD, str(tmp_path)])
    _wait_for(tmp_path / "ready")
    parent.kill()
    parent.wait()
    _wait_for(tmp_path / "told")
    assert (tmp_path / "told").read_text() == str(int(signal.SIGTERM))


def _wait_for(file, seconds=30):
    deadline = time.monotonic() + seconds
    while not (file.exists() and (file.name == "ready" or file.read_text())):
        assert time.monotonic() < deadline, f"no {file.name}"
        time.sleep(0.02)
