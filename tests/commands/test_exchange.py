"""Packages as nnU-Net's results folders and back; `tests/peer` lets nnU-Net itself read and write them."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from packages import package_of
from stage_calls import call

from segflow.commands.main import main
from segflow.nnunet.checkpoints import load_nnunet_checkpoint
from segflow.nnunet.plans import read_plan
from segflow.storage.weights import load_network


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return package_of(tmp_path_factory.mktemp("package"), "2d", folds=(0, 2))


@pytest.fixture
def exported(package, tmp_path):
    call("export-nnunet", "--model", package, "--output", tmp_path / "theirs")
    return tmp_path / "theirs" / "nnUNetTrainer__nnUNetPlans__2d"


def test_exported(package, exported):
    assert sorted(file.relative_to(exported).as_posix() for file in exported.rglob("*.*")) == [
        "dataset.json",
        "dataset_fingerprint.json",
        "fold_0/checkpoint_final.pth",
        "fold_2/checkpoint_final.pth",
        "plans.json",
    ]
    card, network = load_network(package / "2d" / "fold_2.pt")
    found = load_nnunet_checkpoint(exported / "fold_2" / "checkpoint_final.pth")
    assert (found.configuration, found.mirroring, found.epochs) == ("2d", False, 1)
    assert all(torch.equal(found.weights[name], tensor) for name, tensor in network.state_dict().items())
    plan = read_plan(exported / "plans.json")
    assert plan.configurations["2d"] == card.configuration  # four features wide, unlike the package's plan
    assert plan.configurations["2d"] != read_plan(package / "plans.json").configurations["2d"]


def test_and_back(package, exported, tmp_path):
    call("import-nnunet", "--folders", exported, "--output", tmp_path / "back")
    images = package.parent / "data" / "imagesTr"
    for name, model in (("ours", package), ("back", tmp_path / "back")):
        call("predict", "--model", model, "--input", images, "--output", tmp_path / name, "--device", "cpu")
    ours = {file.name: file.read_bytes() for file in (tmp_path / "ours").glob("*.nii.gz")}
    back = {file.name: file.read_bytes() for file in (tmp_path / "back").glob("*.nii.gz")}
    assert len(ours) == 5
    assert back == ours
    card = json.loads((tmp_path / "back" / "model.json").read_text())
    assert (card["configurations"], card["folds"], card["inference"]["mirroring"]) == (["2d"], [0, 2], False)


def test_chosen_folds(exported, tmp_path):
    call("import-nnunet", "--folders", exported, "--folds", 2, "--output", tmp_path / "back")
    assert [file.name for file in (tmp_path / "back" / "2d").iterdir()] == ["fold_2.pt"]


def test_a_network_trained_on_all_cases_is_nnunets_fold_all(tmp_path):
    package = package_of(tmp_path / "ours", "2d", folds=("all",))
    call("export-nnunet", "--model", package, "--output", tmp_path / "theirs")
    folder = tmp_path / "theirs" / "nnUNetTrainer__nnUNetPlans__2d"
    content = torch.load(folder / "fold_all" / "checkpoint_final.pth", weights_only=True)
    assert content["init_args"] == {"configuration": "2d", "fold": "all"}
    for number, more in enumerate(([], ["--folds", "all"])):
        back = tmp_path / f"back{number}"
        call("import-nnunet", "--folders", folder, "--output", back, *more)
        assert json.loads((back / "model.json").read_text())["folds"] == ["all"]
        networks = [load_network(model / "2d" / "fold_all.pt")[1].state_dict() for model in (package, back)]
        assert all(torch.equal(networks[1][name], tensor) for name, tensor in networks[0].items())
    shutil.copytree(folder / "fold_all", folder / "fold_1")
    call("import-nnunet", "--folders", folder, "--output", tmp_path / "numbered")
    assert [file.name for file in (tmp_path / "numbered" / "2d").iterdir()] == ["fold_1.pt"]


def test_another_trainer_is_named(exported, tmp_path, capsys):
    file = exported / "fold_0" / "checkpoint_final.pth"
    content = torch.load(file, weights_only=True)
    torch.save(content | {"trainer_name": "nnUNetTrainerX"}, file)
    call("import-nnunet", "--folders", exported, "--folds", 0, "--output", tmp_path / "back")
    assert "was trained by nnUNetTrainerX" in " ".join(capsys.readouterr().err.split())


def test_weights_of_another_plan(exported, tmp_path, capsys):
    plans = json.loads((exported / "plans.json").read_text())
    features = plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["features_per_stage"]
    features[0] = 6
    (exported / "plans.json").write_text(json.dumps(plans))
    assert main(["import-nnunet", "--folders", str(exported), "--output", str(tmp_path / "back")]) == 1
    assert (
        "encoder.stages.0.0.conv.weight: 6 x 1 x 3 x 3 here, 4 x 1 x 3 x 3 there" in capsys.readouterr().err
    )
    assert not (tmp_path / "back" / "model.json").exists()


def test_a_folder_without_folds(exported, tmp_path, capsys):
    for fold in exported.glob("fold_*"):
        shutil.rmtree(fold)
    assert main(["import-nnunet", "--folders", str(exported), "--output", str(tmp_path / "back")]) == 1
    assert "has no folds" in capsys.readouterr().err


def test_a_model_whose_images_were_re_oriented(exported, tmp_path, capsys):
    file = exported / "plans.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"image_reader_writer": "NibabelIOWithReorient"}))
    assert main(["import-nnunet", "--folders", str(exported), "--output", str(tmp_path / "back")]) == 1
    assert "image_reader_writer is NibabelIOWithReorient, but" in " ".join(capsys.readouterr().err.split())
