"""The command line as a user meets it."""

from __future__ import annotations

import importlib
import json
import logging
import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import SimpleITK as sitk

from segflow import __version__
from segflow.commands import main as main_module
from segflow.commands import manifest
from segflow.commands.main import VERBS, main
from segflow.contracts.errors import ConfigurationError
from segflow.storage.files import read_json
from segflow.workflow.code import closure


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    assert stopped.value.code == 0
    assert VERBS[verb][1][1:] in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("module", [module for module, _ in VERBS.values()])
def test_every_verb_has_a_module(module):
    found = importlib.import_module(f"segflow.commands.{module}")
    assert callable(found.run)
    assert callable(found.add_arguments)


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
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


@pytest.mark.parametrize("verb", ["check", "train", "compare"])
def test_a_misspelt_option_is_refused(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([verb, "a", "--devise", "cpu"])
    assert stopped.value.code == 2
    assert "usage: segflow" in capsys.readouterr().err


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


def test_manifest(manifest_call, tmp_path):
    assert main(manifest_call) == 0
    assert read_json(tmp_path / "prepared.json", error=ConfigurationError)["cases"] == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["chunk_0.json", "prepared.json"]


def test_a_job_has_a_record_and_a_failed_one_none(manifest_call, tmp_path, monkeypatch):
    followed = []
    monkeypatch.setattr(main_module, "end_with_parent", lambda: followed.append(True))
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


def test_a_verb_gets_a_name_for_its_code(manifest_call, monkeypatch):
    codes = []
    monkeypatch.setattr(manifest, "run", lambda options: codes.append(options.code))
    monkeypatch.setattr(main_module, "end_with_parent", lambda: None)
    for words in (manifest_call, manifest_call, [*manifest_call, "--job"]):
        assert main(words) == 0
    monkeypatch.setattr(main_module, "closure", lambda name: closure(name) | {"segflow.storage.files": "x"})
    assert main(manifest_call) == 0
    assert len(set(codes[:3])) == 1
    assert codes[3] != codes[0]


def test_gpus_are_leased_before_torch_is_imported():
    """What CUDA_VISIBLE_DEVICES says is read once."""
    code = """
import sys
from contextlib import contextmanager
from segflow.commands import main
@contextmanager
def leased(count):
    print(count, "torch" in sys.modules, "segflow.commands.train" in sys.modules, flush=True)
    yield
    print("free", flush=True)
main.leased_gpus = leased
main.main(["train", "--gpus", sys.argv[1], "--help"])
"""
    done = subprocess.run([sys.executable, "-c", code, "2"], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("2 False False\nusage: segflow train")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("words", "count"), [([], 0), (["--gpus", "1"], 1), (["--gpus=3"], 3)])
def test_gpus_are_held_while_the_verb_runs(words, count, manifest_call, monkeypatch):
    events = []

    @contextmanager
    def leased(wanted):
        events.append(wanted)
        yield
        events.append("free")

    monkeypatch.setattr(main_module, "leased_gpus", leased)
    monkeypatch.setattr(manifest, "run", lambda options: events.append("run"))
    assert main([*manifest_call, *words]) == 0
    assert events == [count, "run", "free"]


def test_a_lease_that_is_refused_is_a_user_error(manifest_call, monkeypatch, capsys):
    def refused(count):
        raise ConfigurationError(f"there are no {count} GPUs")

    monkeypatch.setattr(main_module, "leased_gpus", refused)
    assert main([*manifest_call, "--gpus", "9"]) == 1
    assert "there are no 9 GPUs" in capsys.readouterr().err


def test_the_log_is_appended_to(manifest_call, tmp_path):
    log = tmp_path / "logs" / "a.log"
    for _ in range(2):
        assert main(["check", str(tmp_path), "--log", str(log)]) == 1
    for handler in logging.getLogger("segflow").handlers:
        handler.flush()
    assert log.read_text().count("dataset.json does not exist") == 2


def test_planning_verbs_start_without_torch():
    code = (
        "import sys; from segflow.commands import main, plan, fingerprint, evaluate, select; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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


def test_a_user_error_is_one_message_and_status_1(tmp_path, capsys):
    assert main(["check", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "dataset.json does not exist" in said
    assert "Traceback" not in said


def test_a_stray_label_is_a_warning_in_the_report(tmp_path):
    folder = tmp_path / "data"
    assert main(["phantom", str(folder), "--cases", "2"]) == 0
    label = folder / "labelsTr" / "phantom_000.nii.gz"
    label.with_name("nobody.nii.gz").write_bytes(label.read_bytes())
    assert main(["check", str(folder), "--output", str(tmp_path / "check.json"), "--workers", "1"]) == 0
    (warning,) = json.loads((tmp_path / "check.json").read_text())["warnings"]
    assert "nobody.nii.gz" in warning


def test_evaluate_against_the_data_set_and_against_a_folder(tmp_path):
    folder = tmp_path / "data"
    assert main(["phantom", str(folder), "--cases", "2"]) == 0
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    for file in (folder / "labelsTr").iterdir():
        label = sitk.ReadImage(str(file))
        array = sitk.GetArrayFromImage(label)
        wrong = sitk.GetImageFromArray(np.where(array == 2, 1, array))
        wrong.CopyInformation(label)
        sitk.WriteImage(wrong, str(predictions / file.name))
    common = ["evaluate", "--dataset", str(folder / "dataset.json"), "--workers", "1"]
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    assert main([*common, "--predictions", str(predictions), "--output", str(one)]) == 0
    references = ["--references", str(folder / "labelsTr")]
    assert main([*common, "--predictions", str(predictions), *references, "--output", str(two)]) == 0
    assert one.read_text() == two.read_text()
    summary = json.loads(one.read_text())
    assert summary["mean"]["2"]["Dice"] == 0
    assert 0.5 < summary["mean"]["1"]["Dice"] < 1
    assert main([*common, "--predictions", str(tmp_path), "--output", str(two)]) == 1


def test_numpy_is_told_of_its_threads_before_it_is_imported():
    """Results must not depend on how many processes share the machine."""
    code = "import os, sys, segflow.commands.main; print('numpy' in sys.modules, os.environ['OPENBLAS_NUM_THREADS'])"
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert said.split() == ["False", "1"]
