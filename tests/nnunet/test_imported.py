"""Every kind of network goes to nnU-Net's folders and to a zip, and comes back."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from case_samples import architecture_of, configuration_of, plan_of
from report_samples import model_card
from stage_calls import call

from segflow.contracts.model import NetworkCard
from segflow.network.unet import build_network
from segflow.nnunet.plans import write_plan
from segflow.storage.files import digests_of, write_json, write_text
from segflow.storage.packages import weights_files
from segflow.storage.weights import load_network, save_network

LABELS = {
    "classes": {"labels": {"background": 0, "a": 1, "b": 2}},
    "ignored": {"labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}},
    "regions": {"labels": {"background": 0, "all": [1, 2], "b": [2]}, "regions_class_order": [1, 2]},
}
OUTPUTS = {"classes": 3, "ignored": 3, "regions": 2}


@pytest.fixture(params=LABELS)
def package(request, tmp_path):
    """A cascade with residual encoders, of two channels, and of all cases."""
    folder = tmp_path / "package"
    network = architecture_of(["111", "222"], (4, 8), encoder="residual")
    full = configuration_of(normalization=("zscore", "ct")).model_copy(update={"architecture": network})
    low = full.model_copy(update={"name": "3d_lowres", "next_stage": "3d_cascade_fullres"})
    last = full.model_copy(update={"name": "3d_cascade_fullres", "previous_stage": "3d_lowres"})
    plan = plan_of(full).model_copy(update={"configurations": {one.name: one for one in (low, full, last)}})
    write_plan(folder / "plans.json", plan)
    description = {"channel_names": {"0": "T1", "1": "CT"}, "numTraining": 5, "file_ending": ".nii.gz"}
    write_json(folder / "dataset.json", description | LABELS[request.param])
    card = model_card("3d_cascade_fullres", stages=("3d_lowres",), folds=("all",))
    for name, (file,) in weights_files(folder, card).items():
        made = NetworkCard(
            configuration=plan.configurations[name],
            input_channels=2 + 2 * (name == "3d_cascade_fullres"),
            n_outputs=OUTPUTS[request.param],
            fold="all",
            seed=3,
            epochs=7,
            iterations=5,
            device="cuda",
        )
        own = build_network(
            network, input_channels=made.input_channels, output_channels=made.n_outputs, seed=4
        )
        save_network(file, made, own.state_dict())
    write_text(folder / "README.md", "completed by hand")
    files = sorted(file for file in folder.rglob("*") if file.suffix in {".json", ".safetensors"})
    write_text(folder / "model.json", card.model_copy(update={"files": digests_of(folder, files)}).to_json())
    return folder


def test_a_zip_and_back(package, tmp_path):
    call("export", "zip", package, "--output", tmp_path / "a.zip")
    call("import-model", tmp_path / "a.zip", "--output", tmp_path / "back")
    for file in (file for file in package.rglob("*") if file.is_file()):
        assert (tmp_path / "back" / file.relative_to(package)).read_bytes() == file.read_bytes(), file


def test_results_of_nnunet_and_back(package, tmp_path):
    """Without what segflow notes in its checkpoints, which those of nnU-Net lack."""
    call("export", "nnunet", package, "--output", tmp_path / "theirs")
    for file in tmp_path.glob("theirs/*/fold_all/checkpoint_final.pth"):
        content = torch.load(file, weights_only=True)
        del content["segflow_card"]
        torch.save(content, file)
    shutil.make_archive(str(tmp_path / "theirs"), "zip", tmp_path, "theirs")
    for number, source in enumerate((tmp_path / "theirs", tmp_path / "theirs.zip")):
        back = tmp_path / f"back{number}"
        call("import-model", source, "--output", back)
        card = json.loads((back / "model.json").read_text())
        assert (card["configurations"], card["stages"]) == (["3d_cascade_fullres"], ["3d_lowres"])
        assert card["folds"] == ["all"]
        for file in package.glob("*/fold_all.safetensors"):
            (given, expected), (noted, found) = (
                load_network(one / file.relative_to(package)) for one in (package, back)
            )
            assert noted == given.model_copy(update={"seed": 0, "iterations": None, "device": "nnU-Net"})
            state = found.state_dict()
            assert all(torch.equal(state[name], value) for name, value in expected.state_dict().items())
