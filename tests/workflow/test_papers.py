"""The recipes that follow publications, from a phantom data set to a package, on a budget of seconds."""

from __future__ import annotations

import json

import pytest
from workflow_runs import label_new_images

from segflow.contracts.model import ModelCard, NetworkCard
from segflow.nnunet.plans import read_plan

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def test_flare21(experiment):
    """Its patch is larger than the phantoms, so that a smaller one is given."""
    experiment.configure(folds=[0], recipe="flare21", planning={"patch_3d": [8, 16, 16]}, inference={})
    experiment.finish()
    results = experiment.shared / "flare21"
    card = ModelCard.model_validate_json((results / "model" / "model.json").read_text())
    assert card.configurations == ("3d_lowres",)
    assert card.postprocessing.operations == card.postprocessing.steps == ()
    assert (card.inference["mirroring"], card.inference["average"]) == (("x",), "probabilities")
    trained = results / "models" / "3d_lowres" / "fold_0"
    network = NetworkCard.model_validate_json((trained / "card.json").read_text()).configuration
    assert (network.patch_shape, network.normalization) == ((8, 16, 16), ("ct",))
    assert not any((network.architecture.norm_affine, network.separate_z, network.batch_dice))
    assert network == read_plan(results / "model" / "plans.json").configurations["3d_lowres"].model_copy(
        update={
            "architecture": network.architecture,
            "batch_size": network.batch_size,
        }
    )
    assert not list(results.glob("predictions/*/*/probabilities"))
    assert label_new_images(experiment, results)[0].name == "phantom_000.nii.gz"
    assert not experiment.jobs()


def test_nnunet_2018(experiment):
    experiment.configure(folds=[0], recipe="nnunet-2018")
    experiment.finish()
    results = experiment.shared / "nnunet-2018"
    planned = read_plan(results / "model" / "plans.json").configurations
    assert {entry.label_interpolation for entry in planned.values()} == {"nearest"}
    found = json.loads((results / "postprocessing.json").read_text())
    assert {step["operation"]["name"] for step in found["steps"]} == {"keep_largest"}
    assert all(step["accepted"] for step in found["steps"])  # without regard to the Dice
    assert [step["operation"] for step in found["steps"]] == found["operations"]
    assert label_new_images(experiment, results)[0].name == "phantom_000.nii.gz"
    assert not experiment.jobs()


def test_flare21_where_no_low_resolution_is_planned(experiment):
    experiment.configure(folds=[0], recipe="flare21")
    said = experiment.fail()
    assert (
        "configurations: the plan for data has no 3d_lowres, which recipe flare21 would train; it has 2d, "
        "3d_fullres: name some of these" in said
    )
