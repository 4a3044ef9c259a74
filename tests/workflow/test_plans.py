"""Which plans there are, and whose prepared cases they share."""

from __future__ import annotations

import json

import pytest

from segflow.contracts.errors import ConfigurationError, PlanError
from segflow.contracts.fingerprint import Fingerprint, IntensityProperties
from segflow.nnunet.plans import plan_to_json
from segflow.planning.plan import PlanInput, make_plan
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import recipe_named
from segflow.workflow.config import WorkflowConfig
from segflow.workflow.plans import read_plans
from segflow.workflow.recipes import read_recipes

PROPERTIES = IntensityProperties(
    max=4, mean=2, median=2, min=0, percentile_00_5=0.5, percentile_99_5=3.5, std=1
)
ALL = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")


def plans_of(**settings):
    data = {"dataset": "data", "output": "results", **settings}
    config = WorkflowConfig.parse(data, where="c", error=ConfigurationError)
    return read_plans(config, read_recipes(config))


@pytest.fixture
def file(tmp_path):
    """A function that writes a recipe file and gives its name."""

    def write(name, **planning):
        (tmp_path / f"{name}.yaml").write_text(json.dumps({"planning": {"plans_name": name, **planning}}))
        return str(tmp_path / f"{name}.yaml")

    return write


def folders(plans, recipe, names=ALL):
    return ["/".join(plans.cases_of(recipe, name)) for name in names]


def test_the_default():
    plans = plans_of()
    assert plans.of == {"nnunet": "nnUNetPlans"}
    assert plans.planning == {"nnUNetPlans": recipe_named("nnunet").planning}
    assert plans.names == ALL
    assert folders(plans, "nnunet") == [
        "nnUNetPlans/2d",
        "nnUNetPlans/3d_fullres",
        "nnUNetPlans/3d_lowres",
        "nnUNetPlans/3d_fullres",
    ]


@pytest.mark.parametrize("recipes", [["nnunet", "resenc-l"], ["resenc-l", "nnunet"], ["resenc-l"]])
def test_presets_share_cases_at_full_resolution_whoever_takes_part(recipes):
    plans = plans_of(recipes=recipes)
    assert plans.of["resenc-l"] == "nnUNetResEncUNetLPlans"
    assert set(plans.planning) == {"nnUNetPlans", "nnUNetResEncUNetLPlans"}
    assert plans.planning["nnUNetPlans"] == recipe_named("nnunet").planning
    assert folders(plans, "resenc-l") == [
        "nnUNetPlans/2d",
        "nnUNetPlans/3d_fullres",
        "nnUNetResEncUNetLPlans/3d_lowres",
        "nnUNetPlans/3d_fullres",
    ]


def test_recipes_of_ones_own_share_as_well(file):
    plans = plans_of(recipes=[file("large", gpu_memory_gb=24), file("fine", spacing_mm=[1, 1, 1])])
    assert folders(plans, "large", ["2d", "3d_lowres"]) == ["nnUNetPlans/2d", "large/3d_lowres"]
    assert folders(plans, "fine", ["2d", "3d_lowres"]) == ["fine/2d", "fine/3d_lowres"]


def test_a_recipe_with_another_spacing_shares_with_nobody(file):
    plans = plans_of(recipe=file("fine", spacing_mm=[1, 1, 1]))
    assert set(plans.planning) == {"fine"}
    assert folders(plans, "fine", ["2d", "3d_fullres"]) == ["fine/2d", "fine/3d_fullres"]


def test_a_spacing_for_all_recipes_is_shared(file):
    spacing = {"spacing_mm": [2.0, 1.0, 1.0]}
    plans = plans_of(recipes=["resenc", file("fine", spacing_mm=[1, 1, 1])], planning=spacing)
    assert plans.planning["nnUNetPlans"].spacing_mm == (2.0, 1.0, 1.0)
    assert folders(plans, "resenc", ["2d"]) == folders(plans, "fine", ["2d"]) == ["nnUNetPlans/2d"]


def test_the_default_name_may_be_somebody_elses(tmp_path):
    """Its cases are those of that recipe, so only those with the same spacing share them."""
    (tmp_path / "mine.yaml").write_text("planning: {spacing_mm: [1, 1, 1]}")
    plans = plans_of(recipes=["resenc", str(tmp_path / "mine.yaml")])
    assert folders(plans, "mine", ["2d"]) == ["nnUNetPlans/2d"]
    assert folders(plans, "resenc", ["2d"]) == ["nnUNetResEncUNetPlans/2d"]


def test_a_batch_size_for_a_configuration_that_does_not_exist():
    message = r"recipe 'nnunet': 'training\.batch_size\.4d': there is no such configuration; choose of 2d, "
    with pytest.raises(ConfigurationError, match=message):
        plans_of(training={"batch_size": {"4d": 2}})


# Edited plans.


@pytest.fixture
def edited(tmp_path):
    """A function that writes a plan with a cascade and further configurations, and gives the file's name."""
    fingerprint = Fingerprint(
        foreground_intensity_properties_per_channel={"0": PROPERTIES},
        median_relative_size_after_cropping=1,
        shapes_after_crop=((432, 512, 512),),
        spacings=((1.0, 0.75, 0.75),),
    )
    dataset = PlanInput(name="x", channel_names=("CT",), n_cases=40, n_outputs=2)

    def write(*, without=(), plans_name="nnUNetPlans", **added):
        plan = make_plan(fingerprint, dataset, PlannerRecipe(plans_name=plans_name))
        data = plan_to_json(plan)
        del data["configurations"]["3d_lowres"]["next_stage"]
        data["configurations"] = {
            name: entry for name, entry in (data["configurations"] | added).items() if name not in without
        }
        (tmp_path / "plans.json").write_text(json.dumps(data))
        return str(tmp_path / "plans.json")

    return write


def test_an_edited_plan(edited):
    file = edited(
        plans_name="mine",
        small={"inherits_from": "3d_fullres", "batch_size": 4},
        coarse={"inherits_from": "3d_fullres", "spacing": [2, 2, 2]},
        coarser={"inherits_from": "coarse", "batch_size": 5},
    )
    plans = plans_of(plan=file, configurations=["coarser", "2d"], training={"batch_size": {"small": 2}})
    assert plans.of == {"nnunet": "mine"}
    assert set(plans.planning) == {"mine"}
    assert plans.names == (*ALL, "small", "coarse", "coarser")
    assert folders(plans, "nnunet", plans.names) == [
        "mine/2d",
        "mine/3d_fullres",
        "mine/3d_lowres",
        "mine/3d_fullres",
        "mine/3d_fullres",
        "mine/coarse",
        "mine/coarse",
    ]
    assert plans.cascades == ("3d_cascade_fullres",)


def test_recipes_that_plan_alike_may_use_an_edited_plan(edited, tmp_path):
    (tmp_path / "longer.yaml").write_text("training: {epochs: 7}")
    plans = plans_of(plan=edited(), recipes=["nnunet", str(tmp_path / "longer.yaml")])
    assert plans.of == {"nnunet": "nnUNetPlans", "longer": "nnUNetPlans"}
    with pytest.raises(ConfigurationError, match=r"several plans \(nnUNetPlans, nnUNetResEncUNetPlans\)"):
        plans_of(plan=edited(), recipes=["nnunet", "resenc"])


def test_a_cascade_of_ones_own(edited):
    plans = plans_of(plan=edited(mine={"inherits_from": "3d_cascade_fullres", "batch_size": 4}))
    assert plans.cascades == ("3d_cascade_fullres", "mine")
    assert plans.cases_of("nnunet", "mine") == ("nnUNetPlans", "3d_fullres")
    alone = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    plans = plans_of(plan=edited(without=["3d_cascade_fullres"], mine=alone))
    assert plans.cascades == ("mine",)
    assert plans.cases_of("nnunet", "3d_cascade_fullres") == ("nnUNetPlans", "3d_fullres")


@pytest.mark.parametrize(
    "added",
    [
        {"inherits_from": "3d_fullres", "previous_stage": "2d"},
        {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres", "spacing": [2, 2, 2]},
    ],
)
def test_other_cascades_are_refused(added, edited):
    with pytest.raises(
        PlanError, match="configuration mine: the workflow has cascades from 3d_lowres to the"
    ):
        plans_of(plan=edited(mine=added))


def test_a_cascade_without_its_low_resolution(edited):
    with pytest.raises(PlanError, match="its stage 3d_lowres is not a configuration of this plan"):
        plans_of(plan=edited(without=["3d_lowres"]))


def test_a_configuration_that_the_edited_plan_lacks(edited):
    with pytest.raises(ConfigurationError, match=r"plans\.json has no 'large'; choose of 2d, .*, small"):
        plans_of(plan=edited(small={"inherits_from": "2d"}), configurations=["large"])


@pytest.mark.parametrize("name", ["../x", "a b", ""])
def test_a_plan_that_no_folder_can_be_called_by(name, edited):
    with pytest.raises(PlanError, match="cannot be the name of a folder"):
        plans_of(plan=edited(plans_name=name))


def test_no_such_file():
    with pytest.raises(PlanError, match=r"none\.json does not exist"):
        plans_of(plan="none.json")


def test_cases_that_are_resampled_first_are_shared_with_nobody():
    plans = plans_of(recipes=["nnunet", "nnunet-2021", "nnunet-2018", "flare21"])
    cases = {name: plans.cases_of(name, "3d_fullres") for name in plans.of}
    shared = ("nnUNetPlans", "3d_fullres")
    assert cases == {
        "nnunet": shared,
        "nnunet-2021": ("nnUNetPlans2021", "3d_fullres"),
        "nnunet-2018": shared,
        "flare21": shared,
    }
    assert plans.cases_of("nnunet-2018", "3d_lowres") == ("nnUNetPlans2018", "3d_lowres")
