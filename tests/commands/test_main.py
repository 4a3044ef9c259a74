"""The command line as a user meets it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from segflow import __version__
from segflow.commands.main import VERBS, main


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


def test_planning_verbs_start_without_torch():
    code = (
        "import sys; from segflow.commands import main, plan, fingerprint, evaluate, select; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_training_needs_no_image_library():
    code = "import sys; import segflow.training, segflow.inference; sys.exit('SimpleITK' in sys.modules)"
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
