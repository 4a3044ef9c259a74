"""The command line as a user meets it."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import docstring_parser
import pytest

from segflow import __version__
from segflow.commands import manifest
from segflow.commands.arguments import Call
from segflow.commands.main import COMMANDS, main
from segflow.contracts.errors import ConfigurationError
from segflow.processes import gpus, signals
from segflow.storage.files import read_json
from segflow.workflow import code
from segflow.workflow.code import closure


@pytest.mark.parametrize("verb", COMMANDS)
def test_the_help_of_a_command_is_its_docstring(verb, capsys):
    module = importlib.import_module(f"segflow.commands.{COMMANDS[verb]}")
    function = getattr(module, COMMANDS[verb])
    assert main([verb, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert " ".join(inspect.getdoc(function).split("\n\n")[0].split()) in shown
    for name in inspect.signature(function).parameters.keys() - {"call", "values", "words"}:
        assert f"--{name.replace('_', '-')}" in shown
    assert ("--recipe" in shown) == (
        verb in {"package", "run"} or "values" in inspect.signature(function).parameters
    )


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_argument_is_described(verb):
    module = importlib.import_module(f"segflow.commands.{COMMANDS[verb]}")
    function = getattr(module, COMMANDS[verb])
    described = {entry.arg_name for entry in docstring_parser.parse(inspect.getdoc(function)).params}
    assert described == inspect.signature(function).parameters.keys()


def test_no_help_imports_torch():
    code = """
import sys
from segflow.commands.main import COMMANDS, main
for verb in COMMANDS:
    assert main([verb, "--help"]) == 0
    assert "torch" not in sys.modules, verb
"""
    assert (
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0
    )


def test_the_list_of_commands_imports_nothing_heavy(tmp_path):
    code = "import sys; from segflow.commands.main import main; main(['--help']); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    shown, _, modules = said.rpartition("\n") if not said.endswith("\n") else said[:-1].rpartition("\n")
    assert shown.index("predict ") < shown.index("predict-fold")  # what users call comes first
    assert not {"numpy", "pydantic", "torch", "rich.progress", "segflow.commands.check"} & set(
        modules.split()
    )


def test_version(capsys):
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "segflow", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"segflow {__version__}\n")
    done = subprocess.run(
        [sys.executable, "-m", "segflow", "check", "nowhere"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "dataset.json does not exist" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["phantom", "x", "--devise", "cpu"], "Unknown option: --devise"),
        (["manifest", "--output", "x"], "--chunks"),
        (["check", "-data"], "write ./-data for this path"),
        (["chekc"], 'Did you mean "check"?'),
        (["phantom", "x", "--cases", "many"], "--cases"),
    ],
)
def test_a_command_line_that_cannot_be_understood(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("-data").mkdir()
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.startswith("segflow: ")
    assert shown.count("\n") == 1


@pytest.fixture
def manifest_call(tmp_path):
    """The words of the smallest verb, which writes prepared.json."""
    (tmp_path / "chunk_0.json").write_text('{"cases": {"a": "1"}}')
    return [
        "manifest",
        "--chunks",
        str(tmp_path / "chunk_0.json"),
        "--output",
        str(tmp_path / "prepared.json"),
    ]


def test_ctrl_c_while_a_library_executes_text(tmp_path):
    """The command ends with its own status; `python -m` might end by the signal, as CPython then has it."""
    script = tmp_path / "interrupted.py"
    script.write_text("""
import sys
from segflow.commands import main
main.application = lambda words: exec("raise KeyboardInterrupt")
sys.exit(main.main(sys.argv[1:]))
""")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    of_job = subprocess.run([sys.executable, script, "--job"], capture_output=True, text=True, check=False)
    assert (of_job.returncode, of_job.stderr) == (
        130,
        "",
    )  # the call that it belongs to has a word of its own
    assert (done.returncode, done.stderr.strip()) == (
        130,
        "segflow: interrupted; files that are complete are kept; repeat the call to go on",
    )


def test_manifest(manifest_call, tmp_path):
    assert main(manifest_call) == 0
    assert read_json(tmp_path / "prepared.json", error=ConfigurationError)["cases"] == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["chunk_0.json", "prepared.json"]


def test_a_job_has_a_record_and_a_failed_one_none(manifest_call, tmp_path, monkeypatch):
    followed = []
    monkeypatch.setattr(signals, "end_with_parent", lambda: followed.append(True))
    record = tmp_path / "prepared.json.provenance"
    assert main([*manifest_call, "--job"]) == 0
    found = read_json(record, error=ConfigurationError)
    assert found["command"] == ["segflow", *manifest_call, "--job"]
    assert list(found["inputs"]) == [str(tmp_path / "chunk_0.json")]
    assert found["code"] == closure("segflow.commands.manifest")
    record.unlink()
    (tmp_path / "chunk_0.json").write_text("{")
    assert main([*manifest_call, "--job"]) == 1
    assert not record.exists()
    assert followed == [True, True]


def replaced(monkeypatch, work):
    """Have `manifest` do something else."""

    def function(*, chunks: list[Path], output: Path, call: Call = Call()) -> None:
        work(call)

    function.__module__ = manifest.__name__
    monkeypatch.setattr(manifest, "manifest", function)


def test_a_verb_gets_a_key_of_its_code(manifest_call, monkeypatch):
    codes = []
    replaced(monkeypatch, lambda call: codes.append(call.code))
    assert main(manifest_call) == main(manifest_call) == 0
    monkeypatch.setattr(code, "closure", lambda name: closure(name) | {"segflow.storage.files": "x"})
    assert main(manifest_call) == 0
    assert codes[0] == codes[1] != codes[2]


def test_gpus_are_leased_before_torch_is_imported(tmp_path):
    """What CUDA_VISIBLE_DEVICES says is read once."""
    code = """
import sys
from contextlib import contextmanager
from pathlib import Path
from segflow.processes import gpus
@contextmanager
def leased(count):
    print(count, "torch" in sys.modules, flush=True)
    yield
gpus.leased_gpus = leased
from segflow.commands.main import main
file = sys.argv[1]
words = ["--prepared", file, "--folds", file, "--network", file, "--dataset", file, "--fold", "0"]
main(["train", "--hold-gpus", "2", *words, "--output", "m.pt", "--history", "h.csv", "--work", "w"])
print("torch" in sys.modules)
"""
    file = tmp_path / "dataset.json"
    file.write_text("{}")
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=False)
    assert done.stdout == "2 False\nTrue\n", done.stderr


@pytest.mark.parametrize(("words", "count"), [([], 0), (["--hold-gpus", "1"], 1), (["--hold-gpus=3"], 3)])
def test_gpus_are_held_while_the_verb_runs(words, count, manifest_call, monkeypatch):
    events = []

    @contextmanager
    def leased(wanted):
        events.append(wanted)
        yield
        events.append("free")

    monkeypatch.setattr(gpus, "leased_gpus", leased)
    replaced(monkeypatch, lambda call: events.append("run"))
    assert main([*manifest_call, *words]) == 0
    assert events == [count, "run", "free"]


def test_a_lease_that_is_refused_is_a_user_error(manifest_call, monkeypatch, capsys):
    def refused(count):
        raise ConfigurationError(f"there are no {count} GPUs")

    monkeypatch.setattr(gpus, "leased_gpus", refused)
    assert main([*manifest_call, "--hold-gpus", "9"]) == 1
    assert "there are no 9 GPUs" in capsys.readouterr().err


def test_the_log_is_appended_to(manifest_call, tmp_path):
    log = tmp_path / "logs" / "a.log"
    for _ in range(2):
        assert main(["check", str(tmp_path), "--log", str(log)]) == 1
    for handler in logging.getLogger("segflow").handlers:
        handler.flush()
    assert log.read_text().count("dataset.json does not exist") == 2


def test_training_needs_no_image_library():
    modules = "segflow.training.loop, segflow.prediction.sliding_window"
    code = f"import sys; import {modules}; sys.exit('SimpleITK' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_phantom_is_a_sound_data_set_and_is_not_overwritten(tmp_path, capsys):
    folder = tmp_path / "data"
    assert main(["phantom", str(folder), "--cases", "5", "--seed", "3"]) == 0
    assert main(["check", str(folder), "--output", str(tmp_path / "check.json"), "--workers", "1"]) == 0
    report = json.loads((tmp_path / "check.json").read_text())
    assert [case["identifier"] for case in report["cases"]] == [f"phantom_00{i}" for i in range(5)]
    assert main(["phantom", str(folder)]) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("asked", [{}, {"OPENBLAS_NUM_THREADS": "2"}], ids=["unset", "as Snakemake sets it"])
def test_numpy_is_told_of_its_threads_before_it_is_imported(asked):
    """Results must not depend on how many processes or threads share the machine."""
    code = "import os, sys, segflow.commands.main; print('numpy' in sys.modules, os.environ['OPENBLAS_NUM_THREADS'])"
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment | asked, capture_output=True, text=True, check=True
    ).stdout
    assert said.split() == ["False", "1"]
