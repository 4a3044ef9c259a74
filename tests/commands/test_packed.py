"""A package is what was packaged, and predicts as the networks that were trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from packages import package_of
from safetensors.torch import save
from stage_calls import call

from segflow.storage.files import digest_of
from segflow.storage.weights import load_tensors, save_tensors


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("package")


@pytest.fixture(scope="module")
def model(folder):
    return package_of(folder, "2d", "3d_fullres")


def test_networks_of_an_earlier_choice_do_not_stay(tmp_path):
    left = tmp_path / "model" / "3d_fullres" / "fold_0.safetensors"
    left.parent.mkdir(parents=True)
    left.touch()
    model = package_of(tmp_path, "2d")
    assert [file.name for file in model.glob("*/*")] == ["fold_0.safetensors"]
    assert not left.exists()


@pytest.fixture
def predict(folder):
    """Labels one image; the bytes of its label map."""

    def predicted(package, output):
        image = min((folder / "data" / "imagesTr").iterdir())
        call("predict", "-m", package, "-i", image, "-o", output, "--device", "cpu", "--threads", 1)
        (labels,) = output.glob("*.nii.gz")
        return labels.read_bytes()

    return predicted


def spoil(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def overwrite(target, source):
    shutil.copy(target.parents[1] / source, target)


def no_numbers(file):
    content = load_tensors(file)
    next(iter(content["weights"].values())).mul_(float("nan"))
    file.write_bytes(save(content["weights"], {"card": content["card"]}))


@pytest.mark.parametrize(
    ("name", "change", "has_digests", "said"),
    [
        ("2d/fold_0.safetensors", spoil, True, "2d/fold_0.safetensors is not the file that"),
        ("plans.json", spoil, True, "plans.json is not the file that"),
        (
            "2d/fold_0.safetensors",
            lambda file: overwrite(file, "3d_fullres/fold_0.safetensors"),
            True,
            "is not the file that",
        ),
        (
            "2d/fold_0.safetensors",
            lambda file: overwrite(file, "3d_fullres/fold_0.safetensors"),
            False,
            "of 3d_fullres/fold_0",
        ),
        (
            "3d_fullres/fold_0.safetensors",
            no_numbers,
            False,
            "3d_fullres/fold_0.safetensors are NaN or infinite",
        ),
        ("2d/fold_0.safetensors", Path.unlink, True, "2d/fold_0.safetensors does not exist"),
    ],
)
def test_a_package_is_what_was_packaged(name, change, has_digests, said, model, predict, tmp_path, capsys):
    """A package of an earlier version has no digests."""
    other = tmp_path / "model"
    shutil.copytree(model, other)
    if not has_digests:
        card = json.loads((other / "model.json").read_text())
        assert name in card.pop("files")
        (other / "model.json").write_text(json.dumps(card))
        predict(other, tmp_path / "before")
    change(other / name)
    with pytest.raises(AssertionError):
        predict(other, tmp_path / "after")
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_package_with_weights_of_torch_predicts_the_same(model, predict, tmp_path):
    """As earlier versions packed them: the files of the trainings themselves."""
    old = tmp_path / "model"
    shutil.copytree(model, old)
    card = json.loads((old / "model.json").read_text())
    for file in list(old.glob("*/fold_0.safetensors")):
        save_tensors(file.with_suffix(".pt"), load_tensors(file))
        card["files"].pop(file.relative_to(old).as_posix())
        file.unlink()
        made = file.with_suffix(".pt")
        card["files"][made.relative_to(old).as_posix()] = digest_of(made)
    (old / "model.json").write_text(json.dumps(card))
    assert len(list(old.rglob("*.pt"))) == 2
    assert predict(old, tmp_path / "old") == predict(model, tmp_path / "new")


def test_a_package_holds_what_was_trained(model):
    for file in model.glob("*/fold_0.safetensors"):
        trained = load_tensors(model.parent / "models" / file.parent.name / "fold_0" / "model.pt")
        packed = load_tensors(file)
        assert packed["card"] == trained["card"]
        assert packed["weights"].keys() == trained["weights"].keys()
        assert all(torch.equal(packed["weights"][name], value) for name, value in trained["weights"].items())
