"""ONNX files: the scores of torch, and label maps by onnxruntime and NumPy alone."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from packages import package_of
from stage_calls import call

from segflow.commands.main import main
from segflow.contracts.case import Case
from segflow.contracts.errors import PredictionError
from segflow.images.cases import read_case
from segflow.prediction import onnx_files
from segflow.prediction.predictor import Predictor

PROGRAM = Path(__file__).parents[2] / "docs" / "how-to" / "predict_with_onnx.py"
#: Of two probabilities; voxels with a smaller one may have another label.
TIE = 1e-4


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """Cases of several spacings, and networks of both kinds."""
    folder = tmp_path_factory.mktemp("phantom")
    package_of(folder, "2d", "3d_fullres", folds=(0, 1))
    call("export", "onnx", folder / "model", "--output", folder / "onnx")
    return folder


def labels_of(folder, file, case):
    """By the program of the documentation; with segflow's, and the difference of its two highest probabilities."""
    raw = read_case(Case(case.name, (case,)), channels=1)
    name = file.stem.partition("_fold")[0]
    card = json.loads((folder / "model" / "model.json").read_text()) | {"configurations": [name], "files": {}}
    shutil.copytree(folder / "model", folder / name, dirs_exist_ok=True)
    (folder / name / "model.json").write_text(json.dumps(card))
    expected, scores = Predictor.from_folder(folder / name, device="cpu").predict_case(
        raw, probabilities=True
    )
    np.save(folder / "image.npy", raw.image)
    spacing = ",".join(map(str, raw.geometry.spacing_mm))
    words = [sys.executable, PROGRAM, file, folder / "image.npy", spacing, folder / "labels.npy"]
    subprocess.run(words, check=True)
    second, first = np.sort(scores, axis=0)[-2:]
    return np.load(folder / "labels.npy"), expected, first - second


@pytest.mark.slow
@pytest.mark.parametrize("name", ["2d", "3d_fullres"])
@pytest.mark.parametrize("number", [0, 3])
def test_the_program_of_the_documentation(name, number, phantom):
    case = sorted((phantom / "data" / "imagesTr").iterdir())[number]
    found, expected, gap = labels_of(phantom, phantom / "onnx" / f"{name}.onnx", case)
    assert found.shape == expected.shape
    assert len(np.unique(expected)) > 1
    assert (gap[found != expected] < TIE).all()


@pytest.mark.data
@pytest.mark.slow
def test_five_cases_of_the_hippocampus(shared, tmp_path):
    source = shared / "data" / "hippocampus"
    description = json.loads((source / "dataset.json").read_text())
    for part, pattern in (("imagesTr", "{}_0000.nii.gz"), ("labelsTr", "{}.nii.gz")):
        (tmp_path / "data" / part).mkdir(parents=True)
        for file in sorted((source / "labelsTr").glob("*.nii.gz"))[:5]:
            name = pattern.format(file.name.removesuffix(".nii.gz"))
            shutil.copy(source / part / name, tmp_path / "data" / part)
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(description | {"numTraining": 5}))
    package_of(tmp_path, "3d_fullres", folds=(0, 1))
    call("export", "onnx", tmp_path / "model", "--output", tmp_path / "onnx")
    for case in sorted((tmp_path / "data" / "imagesTr").iterdir()):
        found, expected, gap = labels_of(tmp_path, tmp_path / "onnx" / "3d_fullres.onnx", case)
        assert len(np.unique(expected)) > 1
        assert (gap[found != expected] < TIE).all()


def test_scores_are_those_of_torch(phantom):
    """In float64, of any number of patches, and of all folds."""
    ensemble = Predictor.from_folder(phantom / "model", device="cpu").ensembles["3d_fullres"]
    session = onnxruntime.InferenceSession(phantom / "onnx" / "3d_fullres.onnx")
    shape = (1, *ensemble.configuration.patch_shape)
    for number in (1, 2, 5):
        patches = torch.randn(number, *shape)
        with torch.inference_mode():
            exact = [copy.deepcopy(network).double() for network in ensemble.networks]
            expected = sum(network(patches.double()) for network in exact).numpy() / 2
        (found,) = session.run(None, {"image": patches.numpy()})
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_what_a_program_has_to_know(phantom):
    session = onnxruntime.InferenceSession(phantom / "onnx" / "2d.onnx")
    about = json.loads(session.get_modelmeta().custom_metadata_map["segflow"])
    assert about["patch"] == session.get_inputs()[0].shape[2:]
    assert (about["folds"], about["mirrorings"], about["previous_stage"]) == ([0, 1], [[]], None)
    assert about["labels"] == {"background": 0, "organ": 1, "lesion": 2}
    assert about["averaged_configurations"] == ["2d", "3d_fullres"]
    assert about["preparation"]["normalization"][0].endswith("Normalization")


def test_a_file_names_no_folder(phantom):
    for file in (phantom / "onnx").iterdir():
        assert b".py" not in file.read_bytes()


def test_a_file_for_each_fold(phantom, tmp_path):
    call("export", "onnx", phantom / "model", "--per-fold", "--folds", 1, "--output", tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["2d_fold_1.onnx", "3d_fullres_fold_1.onnx"]


def test_scores_that_differ_are_refused(phantom, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_files, "TOLERANCE", 1e-12)
    with pytest.raises(PredictionError, match=r"2d\.onnx: its scores differ from torch's by "):
        onnx_files.export_onnx(phantom / "model", tmp_path, folds=[0])
    assert not list(tmp_path.iterdir())


def test_without_the_extra(phantom, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", "onnx", str(phantom / "model"), "--output", str(tmp_path)]) == 1
    assert "pip install 'segflow[onnx]'" in " ".join(capsys.readouterr().err.split())


def test_options_of_another_form(phantom, tmp_path, capsys):
    assert main(["export", "zip", str(phantom / "model"), "--per-fold", "--output", str(tmp_path / "a")]) == 1
    assert "are options of onnx; zip has all folds" in " ".join(capsys.readouterr().err.split())
