"""Packages as nnU-Net's results folders and back; `tests/peer` lets nnU-Net itself read and write them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from packages import package_of
from stage_calls import call, contents

from segflow.commands.main import main
from segflow.network.unet import build_network
from segflow.nnunet.checkpoints import load_nnunet_checkpoint, save_nnunet_checkpoint
from segflow.nnunet.plans import read_plan
from segflow.storage.weights import load_network


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return package_of(tmp_path_factory.mktemp("package"), "2d", folds=(0, 2))


@pytest.fixture
def exported(package, tmp_path):
    call("export", "nnunet", package, "--output", tmp_path / "theirs")
    return tmp_path / "theirs" / "nnUNetTrainer__nnUNetPlans__2d"


def test_exported(package, exported):
    assert sorted(file.relative_to(exported).as_posix() for file in exported.rglob("*.*")) == [
        "dataset.json",
        "dataset_fingerprint.json",
        "fold_0/checkpoint_final.pth",
        "fold_2/checkpoint_final.pth",
        "plans.json",
    ]
    card, network = load_network(package / "2d" / "fold_2.safetensors")
    found = load_nnunet_checkpoint(exported / "fold_2" / "checkpoint_final.pth")
    assert (found.configuration, found.mirroring, found.epochs) == ("2d", (), 1)
    assert all(torch.equal(found.weights[name], tensor) for name, tensor in network.state_dict().items())
    plan = read_plan(exported / "plans.json")
    assert plan.configurations["2d"] == card.configuration  # four features wide, unlike the package's plan
    assert plan.configurations["2d"] != read_plan(package / "plans.json").configurations["2d"]


def test_networks_of_nnunet_are_not_overwritten(package, exported, refused):
    checkpoint = exported / "fold_0" / "checkpoint_final.pth"
    checkpoint.write_bytes(b"days of training")
    said = refused("export", "nnunet", package, "--output", exported.parent)
    assert f"{exported} exists already, perhaps with networks that nnU-Net has trained" in said
    assert checkpoint.read_bytes() == b"days of training"


def test_one_of_several_packages_is_to_be_named(package, tmp_path, refused):
    for name in ("one", "two"):
        shutil.copytree(package, tmp_path / "results" / name / "model")
    said = refused("import-model", tmp_path / "results", "--output", tmp_path / "back")
    assert f"name one of {tmp_path / 'results/one/model'}, {tmp_path / 'results/two/model'}" in said
    assert not (tmp_path / "back").exists()


def test_and_back(package, exported, tmp_path):
    call("import-model", exported, "--output", tmp_path / "back")
    images = package.parent / "data" / "imagesTr"
    for name, model in (("ours", package), ("back", tmp_path / "back")):
        call("predict", "--model", model, "--input", images, "--output", tmp_path / name, "--device", "cpu")
    ours = {file.name: file.read_bytes() for file in (tmp_path / "ours").glob("*.nii.gz")}
    back = {file.name: file.read_bytes() for file in (tmp_path / "back").glob("*.nii.gz")}
    assert len(ours) == 5
    assert back == ours
    card = json.loads((tmp_path / "back" / "model.json").read_text())
    assert (card["configurations"], card["folds"], card["inference"]["mirroring"]) == (["2d"], [0, 2], False)


def test_chosen_folds_which_are_not_written_over_those_of_a_package(exported, tmp_path, refused):
    call("import-model", exported, "--folds", 2, "--output", tmp_path / "back")
    said = refused("import-model", exported, "--folds", 0, "--output", tmp_path / "back")
    assert "back holds a model package already; remove it, or name another folder" in said
    assert [file.name for file in (tmp_path / "back" / "2d").iterdir()] == ["fold_2.safetensors"]


def test_a_network_trained_on_all_cases_is_nnunets_fold_all(tmp_path):
    package = package_of(tmp_path / "ours", "2d", folds=("all",))
    call("export", "nnunet", package, "--output", tmp_path / "theirs")
    folder = tmp_path / "theirs" / "nnUNetTrainer__nnUNetPlans__2d"
    content = torch.load(folder / "fold_all" / "checkpoint_final.pth", weights_only=True)
    assert content["init_args"] == {"configuration": "2d", "fold": "all"}
    for number, more in enumerate(([], ["--folds", "all"])):
        back = tmp_path / f"back{number}"
        call("import-model", folder, "--output", back, *more)
        assert json.loads((back / "model.json").read_text())["folds"] == ["all"]
        networks = [
            load_network(model / "2d" / "fold_all.safetensors")[1].state_dict() for model in (package, back)
        ]
        assert all(torch.equal(networks[1][name], tensor) for name, tensor in networks[0].items())
    shutil.copytree(folder / "fold_all", folder / "fold_1")
    call("import-model", folder, "--output", tmp_path / "numbered")
    assert [file.name for file in (tmp_path / "numbered" / "2d").iterdir()] == ["fold_1.safetensors"]


def test_another_trainer_is_named(exported, tmp_path, capsys):
    file = exported / "fold_0" / "checkpoint_final.pth"
    content = torch.load(file, weights_only=True)
    torch.save(content | {"trainer_name": "nnUNetTrainerX"}, file)
    call("import-model", exported, "--folds", 0, "--output", tmp_path / "back")
    assert "was trained by nnUNetTrainerX" in " ".join(capsys.readouterr().err.split())


def test_weights_of_another_plan(exported, tmp_path, capsys):
    plans = json.loads((exported / "plans.json").read_text())
    features = plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["features_per_stage"]
    features[0] = 6
    (exported / "plans.json").write_text(json.dumps(plans))
    assert main(["import-model", str(exported), "--output", str(tmp_path / "back")]) == 1
    assert (
        "encoder.stages.0.0.conv.weight: 6 x 1 x 3 x 3 here, 4 x 1 x 3 x 3 there" in capsys.readouterr().err
    )
    assert not (tmp_path / "back" / "model.json").exists()


def test_a_folder_without_folds(exported, tmp_path, refused):
    for fold in exported.glob("fold_*"):
        shutil.rmtree(fold)
    assert "has no folds" in refused("import-model", exported, "--output", tmp_path / "back")


def test_a_model_whose_images_were_re_oriented(exported, tmp_path, refused):
    file = exported / "plans.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"image_reader_writer": "NibabelIOWithReorient"}))
    assert "image_reader_writer is NibabelIOWithReorient, but" in refused(
        "import-model", exported, "--output", tmp_path / "back"
    )


# Zips, and what lies in them.


@pytest.fixture
def zipped(package, tmp_path):
    call("export", "zip", package, "--output", tmp_path / "model.zip")
    return tmp_path / "model.zip"


def test_a_zip_holds_the_whole_package(package, zipped, tmp_path):
    """It comes back byte for byte, from the file and from the folder it is unpacked to."""
    call("export", "zip", package, "--output", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == zipped.read_bytes()
    shutil.unpack_archive(zipped, tmp_path / "unpacked")
    (dataset,) = (tmp_path / "unpacked").iterdir()
    assert dataset.name == "Dataset999_data"
    assert sorted(folder.name for folder in dataset.iterdir()) == [
        "nnUNetTrainer__nnUNetPlans__2d",
        "segflow",
    ]
    for number, source in enumerate((zipped, tmp_path / "unpacked", dataset, package)):
        call("import-model", source, "--output", tmp_path / f"back{number}")
        assert contents(tmp_path / f"back{number}") == contents(package)


def test_a_zip_that_is_none(zipped, tmp_path, refused):
    content = bytearray(zipped.read_bytes())
    content[len(content) // 2] ^= 1
    zipped.write_bytes(content)
    assert "model.zip cannot be unpacked" in refused("import-model", zipped, "--output", tmp_path / "back")
    zipped.write_bytes(content[:100])
    said = refused("import-model", zipped, "--output", tmp_path / "back")
    assert "model.zip is neither a folder nor a zip, or is damaged" in said
    assert not list(tmp_path.glob(".*"))


def test_packages_of_segflow_are_imported_one_at_a_time(package, tmp_path, refused):
    said = refused("import-model", package, package, "--output", tmp_path / "back")
    assert f"name one of {package}, {package}" in said


def test_a_zip_without_one_of_its_checkpoints(zipped, tmp_path, refused):
    shutil.unpack_archive(zipped, tmp_path / "unpacked")
    (file,) = tmp_path.glob("unpacked/*/*__2d/fold_2/checkpoint_final.pth")
    content = torch.load(file, weights_only=True)
    del content["segflow_card"]
    torch.save(content, file)
    said = refused("import-model", tmp_path / "unpacked", "--output", tmp_path / "back")
    assert "is not the one that segflow has written" in said
    assert not (tmp_path / "back" / "model.json").exists()


# Results of a whole data set.


@pytest.fixture
def results(exported):
    """Two configurations, as they lie in nnU-Net's results."""
    other = exported.with_name("nnUNetTrainerX__nnUNetPlans__2d")
    shutil.copytree(exported, other)
    plans = json.loads((other / "plans.json").read_text())
    plans["configurations"]["wide"] = {"inherits_from": "2d", "spacing": [1.5, 1.5]}
    (other / "plans.json").write_text(json.dumps(plans))
    for file in other.glob("fold_*/*.pth"):
        content = torch.load(file, weights_only=True)
        content["init_args"]["configuration"] = "wide"
        torch.save(content | {"inference_allowed_mirroring_axes": [0, 1]}, file)
    return Path(shutil.move(other, exported.with_name("nnUNetTrainer__nnUNetPlans__wide"))).parent


def test_several_folders_are_an_ensemble(package, results, tmp_path):
    folders = sorted(results.iterdir())
    call("import-model", *folders, folders[0], "--output", tmp_path / "back")
    card = json.loads((tmp_path / "back" / "model.json").read_text())
    assert card["configurations"] == ["2d", "wide", "2d_2"]
    assert card["inference"]["mirroring"] is False  # one of them was trained without
    assert card["selection"]["best"]["name"] == "2d+wide+2d_2"
    assert (tmp_path / "back" / "README.md").read_text().startswith("# data, 2d+wide+2d_2")
    plan = read_plan(tmp_path / "back" / "plans.json")
    assert plan.configurations["wide"].spacing_mm == (1.5, 1.5)
    assert plan.configurations["2d_2"].spacing_mm == plan.configurations["2d"].spacing_mm
    image = min((package.parent / "data" / "imagesTr").iterdir())
    call("predict", "-m", tmp_path / "back", "-i", image, "-o", tmp_path / "labels", "--device", "cpu")


def test_folders_of_other_labels(results, tmp_path, refused):
    file = results / "nnUNetTrainer__nnUNetPlans__wide" / "dataset.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"channel_names": {"0": "CT"}}))
    said = refused("import-model", results, "--output", tmp_path / "back")
    assert "wide has other channels or labels than" in said


def test_what_nnunet_has_chosen(results, tmp_path, refused):
    chosen = {"selected_model_or_models": [{"configuration": "wide"}]}
    information = results / "inference_information.json"
    information.write_text(json.dumps({"best_model_or_ensemble": chosen}))
    for number, (more, names) in enumerate(
        (
            [[], ["wide"]],
            [["--configurations", "2d"], ["2d"]],
            [["--configurations", "2d", "wide"], ["2d", "wide"]],
        )
    ):
        call("import-model", results, *more, "--output", tmp_path / f"{number}")
        assert json.loads((tmp_path / f"{number}" / "model.json").read_text())["configurations"] == names
    said = refused("import-model", results, "--configurations", "3d", "--output", tmp_path / "none")
    assert "has no configuration 3d; it has nnUNetTrainer__nnUNetPlans__2d, " in said
    information.write_text("[]")
    said = refused("import-model", results, "--output", tmp_path / "none")
    assert "inference_information.json names no best model as nnU-Net does; name what to import with" in said


def test_of_several_trainers_and_plans_the_one_that_nnunet_has_chosen(results, tmp_path):
    """A shorter training of the same configuration lies beside it, with fewer folds."""
    other = results / "nnUNetTrainer_5epochs__nnUNetPlans__2d"
    shutil.copytree(results / "nnUNetTrainer__nnUNetPlans__2d", other)
    shutil.rmtree(other / "fold_2")
    chosen = {"configuration": "2d", "trainer": "nnUNetTrainer", "plans_identifier": "nnUNetPlans"}
    information = {"best_model_or_ensemble": {"selected_model_or_models": [chosen]}}
    (results / "inference_information.json").write_text(json.dumps(information))
    call("import-model", results, "--output", tmp_path / "back")
    card = json.loads((tmp_path / "back" / "model.json").read_text())
    assert (card["configurations"], card["folds"]) == (["2d"], [0, 2])


def noted(*labels, function="remove_all_but_largest_component_from_segmentation"):
    scores = {"foreground_mean": {"Dice": 0.5}}
    return {
        "input_folder": scores,
        "postprocessed": {"foreground_mean": {"Dice": 0.75}},
        "postprocessing_fns": [function] * len(labels),
        "postprocessing_kwargs": [{"labels_or_regions": label} for label in labels],
    }


def test_the_post_processing_that_nnunet_has_noted(results, tmp_path, refused, capsys):
    files = (
        results / "nnUNetTrainer__nnUNetPlans__wide" / "crossval_results_folds_0_2" / "postprocessing.json",
        results / "ensembles" / "ensemble___nnUNetTrainer__nnUNetPlans__2d___nnUNetTrainer__nnUNetPlans__wide___0_2"
        / "postprocessing.json",
    )  # fmt: skip
    for file, labels in zip(files, ([[1, 2], 1], [[[1, 2], 2]]), strict=True):
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(noted(*labels)))
    for names, labels in ((["wide"], [[1, 2], [1]]), (["2d", "wide"], [[1, 2]])):
        back = tmp_path / "+".join(names)
        call("import-model", results, "--configurations", *names, "--output", back)
        card = json.loads((back / "model.json").read_text())
        assert [made["labels"] for made in card["postprocessing"]["operations"]] == labels
        assert {made["name"] for made in card["postprocessing"]["operations"]} == {"keep_largest"}
        assert card["selection"]["best"]["foreground_mean_dice"] == 0.5
        assert "from 0.500 to 0.750" in (back / "README.md").read_text()
    capsys.readouterr()
    call("import-model", results, "--configurations", "2d", "--output", tmp_path / "2d")
    assert "no post-processing is known of these folds" in " ".join(capsys.readouterr().err.split())
    other = tmp_path / "postprocessing.json"
    other.write_text(json.dumps(noted(2)))
    call(
        "import-model", results, "--configurations", "2d", "--postprocessing", other, "--output", tmp_path / "named"
    )  # fmt: skip
    assert "keep the largest component of 2" in (tmp_path / "named" / "README.md").read_text()
    other.write_text(json.dumps(noted(2, function="fill_everything")))
    said = refused("import-model", results, "--postprocessing", other, "--output", tmp_path / "refused")
    assert "segflow has no post-processing fill_everything" in said
    other.write_text(json.dumps(noted(2) | {"postprocessing_fns": []}))
    said = refused("import-model", results, "--postprocessing", other, "--output", tmp_path / "refused")
    assert "must be as many" in said


def test_a_cascade_needs_its_previous_stage(results, tmp_path, refused):
    for file in results.glob("*/plans.json"):
        plans = json.loads(file.read_text())
        plans["configurations"]["2d"]["previous_stage"] = "3d_fullres"
        file.write_text(json.dumps(plans))
    said = refused("import-model", results, "--output", tmp_path / "back")
    assert "needs the folder of its previous stage 3d_fullres as well" in said


@pytest.mark.parametrize("axes", [True, False, ("y",), ("x", "y")])
@pytest.mark.parametrize("name", ["2d", "3d_fullres"])
def test_axes_of_mirroring(axes, name, package, tmp_path):
    card, network = load_network(package / "2d" / "fold_2.safetensors")
    if name == "3d_fullres":
        configuration = read_plan(package / "plans.json").configurations[name]
        card = card.model_copy(update={"configuration": configuration})
        network = build_network(configuration.architecture, input_channels=1, output_channels=3)
    save_nnunet_checkpoint(tmp_path / "a.pth", network.state_dict(), card, mirroring=axes)
    found = load_nnunet_checkpoint(tmp_path / "a.pth")
    ignored = {"z"} if name == "2d" and axes else set()
    assert set(found.mirroring) == ({"z", "y", "x"} if axes is True else {*(axes or ()), *ignored})
    assert found.card == card
