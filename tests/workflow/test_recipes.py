"""The recipes of a call, the plans they use and whose prepared cases they share, and pretrained weights."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from fingerprint_samples import fingerprint_of
from safetensors.numpy import save

from segflow.contracts.errors import ConfigurationError, PlanError
from segflow.nnunet.plans import plan_to_json
from segflow.planning.plan import PlanInput, make_plan
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import recipe_named
from segflow.recipes.training import TrainingRecipe
from segflow.storage.files import digest_of
from segflow.workflow.config import WorkflowConfig
from segflow.workflow.recipes import (
    forms_pairs,
    pretrained_words,
    read_plans,
    read_recipes,
    training_words,
)

NNUNET = recipe_named("nnunet")
ALL = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")


def config_of(**settings):
    data = {"dataset": "data", "output": "results", **settings}
    return WorkflowConfig.parse(data, where="c", error=ConfigurationError)


def read(**settings):
    return read_recipes(config_of(**settings))


def plans_of(**settings):
    config = config_of(**settings)
    return read_plans(config, read_recipes(config))


@pytest.fixture
def file(tmp_path):
    """A function that writes a recipe file and gives its name."""

    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def planning(file):
    """A function that writes a recipe that plans otherwise, and gives the file's name."""
    return lambda name, **values: file(json.dumps({"planning": values}), f"{name}.yaml")


# Recipes by name and from files, with the configuration's changes.


def test_the_default_is_nnunets():
    assert read() == read(recipe="nnunet") == {"nnunet": NNUNET}


def test_a_file_says_what_differs(file):
    text = """
    based_on: nnunet
    training: {epochs: 7, batch_size: {2d: 3}}
    planning: {encoder: residual, encoder_blocks: [1, 3, 4], plans_name: MyPlans}
    inference: {step: 0.25, mirroring: null}
    """
    (recipe,) = read(recipe=file(text)).values()
    assert recipe.name == "mine"
    assert recipe.training == TrainingRecipe(epochs=7, batch_size={"2d": 3})
    planned = PlannerRecipe(encoder="residual", encoder_blocks=(1, 3, 4), plans_name="MyPlans")
    assert recipe.planning == planned
    assert (recipe.inference.step, recipe.inference.mirroring) == (0.25, True)
    assert recipe.augmentation == NNUNET.augmentation


def test_null_in_a_file_is_a_value_where_it_may_be_one(file):
    (recipe,) = read(
        recipe=file("{based_on: flare21, planning: {patch_3d: null}, training: {schedule_epochs: null}}")
    ).values()
    assert (recipe.planning.patch_3d, recipe.training.schedule_epochs) == (None, None)
    assert read(recipe="flare21")["flare21"].planning.patch_3d is not None


@pytest.mark.parametrize("text", ["", "# nothing", "{}", "based_on: nnunet", "training: {}"])
def test_a_file_may_say_nothing(text, file):
    assert read(recipe=file(text, "mine.yml")) == {"mine": NNUNET.model_copy(update={"name": "mine"})}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "based_on: nnunett",
            "based_on must be one of nnunet, .*, found nnunett; a recipe cannot be based on a file",
        ),
        ("based_on: other.yaml", "based_on must be one of nnunet, .*, found other.yaml"),
        ("augmentation: {p_mirror_axis: 0}", "sees mirrored images; set inference.mirroring: false"),
        ("training: {epoch: 7}", r"mine\.yaml: unknown key 'training\.epoch': did you mean 'epochs'\?"),
        ("training: {epochs: 0}", r"mine\.yaml: 'training\.epochs': .* \(found 0\)"),
        (
            "training: {batch_size: 2}",
            r"mine\.yaml: 'training\.batch_size': it needs a value for each name: write \{NAME: 2\}",
        ),
        ("trainng: {epochs: 7}", r"mine\.yaml: unknown key 'trainng': did you mean 'training'\?"),
        ("augmentation: {gamma_split: [0.5, 0.9]}", "a split must begin at 1 or below and end at 1 or above"),
        ("training: 7", r"mine\.yaml: 'training': "),
        ("training: {epochs: 7", r"mine\.yaml, line 1, column 21: not YAML: "),
        ("[training]", r"mine\.yaml must contain keys or sections such as 'training'"),
        ("!!python/object/apply:os.getcwd []", r"mine\.yaml, line 1, column 1: not YAML: "),
    ],
)
def test_a_file_that_is_wrong(text, message, file):
    with pytest.raises(ConfigurationError, match=message):
        read(recipe=file(text))
    with pytest.raises(ConfigurationError, match=r"a/other\.yaml cannot be read: No such file"):
        read(recipe="a/other.yaml")


def test_the_configuration_changes_every_recipe(file):
    mine = file("training: {epochs: 7, iterations: 9, base_width: 4}\ninference: {step: 0.25}")
    changes = {"training": {"epochs": 3, "base_width": None}, "postprocessing": {"largest_component": False}}
    found = read(recipes=["nnunet", mine], **changes)
    assert list(found) == ["nnunet", "mine"]
    assert found["nnunet"].training == TrainingRecipe(epochs=3)
    null_changes_nothing = TrainingRecipe(epochs=3, iterations=9, base_width=4)
    assert found["mine"].training == null_changes_nothing
    assert [recipe.inference.step for recipe in found.values()] == [0.5, 0.25]
    assert not any(recipe.postprocessing.largest_component for recipe in found.values())
    assert NNUNET.training.epochs == 1000  # and not the recipe itself


def test_a_mapping_is_replaced_as_a_whole(file):
    mine = file("training: {batch_size: {2d: 3}}")
    (found,) = read(recipe=mine, training={"batch_size": {"3d_fullres": 2}}).values()
    assert found.training.batch_size == {"3d_fullres": 2}


def test_a_fault_of_the_configuration_is_not_blamed_on_the_file(file):
    with pytest.raises(ConfigurationError, match=r"^configuration: 'training\.epochs': "):
        read(recipe=file("training: {epochs: 7}"), training={"epochs": 0})


@pytest.mark.parametrize(
    "others", [["nnunet", "nnunet"], ["one/a.yaml", "two/a.yaml"], ["nnunet.yml", "nnunet"]]
)
def test_two_of_one_name(others, file):
    names = [file("{}", name) if "." in name else name for name in others]
    with pytest.raises(ConfigurationError, match=r"two are called '(a|nnunet)'; rename one of the files"):
        read(recipes=names)


@pytest.mark.parametrize(
    ("changes", "configurations", "pairs"),
    [
        ({}, None, True),
        ({"ensembles": False}, None, False),
        ({"configurations": ["2d"]}, ("2d",), False),
        ({"configurations": ["2d", "3d_fullres"]}, ("2d", "3d_fullres"), True),
        ({"selection": {"configurations": ["2d"]}}, ("2d",), False),
        ({"recipe": "flare21"}, ("3d_lowres",), False),
        ({"recipe": "flare21", "configurations": ["3d_fullres", "2d"]}, ("3d_fullres", "2d"), True),
    ],
)
def test_configurations_are_the_recipe_s_unless_the_configuration_names_some(changes, configurations, pairs):
    """Probabilities are kept where pairs are formed."""
    (recipe,) = read(**changes).values()
    assert recipe.selection.configurations == configurations
    assert forms_pairs(recipe, config_of(**changes)) == pairs


def test_words_of_a_training_are_those_it_reads():
    (recipe,) = read(training={"batch_size": {"2d": 3, "3d_fullres": 2}, "pretrained": "a.pt"}).values()
    words = training_words(recipe, "2d", is_cascade=False)
    assert 'training.batch_size={"2d":3}' in words
    assert not any("cascade" in word or "pretrained" in word or "max_features" in word for word in words)
    (recipe,) = read(training={"base_width": 8}).values()
    names = {word.partition("=")[0] for word in training_words(recipe, "2d", is_cascade=True)}
    assert names >= {"augmentation.p_cascade_remove", "planning.max_features_2d", "planning.max_features_3d"}


# Plans.


def test_recipes_that_plan_alike_share_a_plan(file, planning):
    alike = file("training: {epochs: 3}", "alike.yaml")
    plans = plans_of(recipes=["nnunet", alike, planning("Other", plans_name="Other", base_features=8)])
    assert plans.of == {"nnunet": "nnUNetPlans", "alike": "nnUNetPlans", "Other": "Other"}


def test_two_plans_of_one_name(file):
    """They are compared after the changes of the configuration, which concern all recipes."""
    recipes = ["nnunet", file("planning: {gpu_memory_gb: 24}")]
    message = r"'nnunet' and 'mine' plan differently, .* 'nnUNetPlans'; .* another planning\.plans_name"
    with pytest.raises(ConfigurationError, match=message):
        plans_of(recipes=recipes)
    assert set(plans_of(recipes=recipes, planning={"gpu_memory_gb": 24}).of.values()) == {"nnUNetPlans"}


LARGE = {"plans_name": "large", "gpu_memory_gb": 24}
FINE = {"plans_name": "fine", "spacing_mm": [1, 1, 1]}
RESENC, RESENC_L = "nnUNetResEncUNetPlans", "nnUNetResEncUNetLPlans"


@pytest.mark.parametrize(
    ("recipes", "spacing_mm", "expected"),
    [
        (["nnunet"], None, {"nnunet": ("nnUNetPlans", "nnUNetPlans")}),
        # Whoever takes part, and in any order.
        (["nnunet", "resenc-l"], None, {"resenc-l": ("nnUNetPlans", RESENC_L)}),
        (["resenc-l", "nnunet"], None, {"resenc-l": ("nnUNetPlans", RESENC_L)}),
        (["resenc-l"], None, {"resenc-l": ("nnUNetPlans", RESENC_L)}),
        # Recipes from files, unless their spacing differs.
        ([LARGE, FINE], None, {"large": ("nnUNetPlans", "large"), "fine": ("fine", "fine")}),
        ([FINE], None, {"fine": ("fine", "fine")}),
        (["resenc", FINE], [2, 1, 1], {"resenc": ("nnUNetPlans", RESENC), "fine": ("nnUNetPlans", "fine")}),
        # The default name is that of a recipe with another spacing.
        (
            ["resenc", {**FINE, "plans_name": "nnUNetPlans"}],
            None,
            {"nnUNetPlans": ("nnUNetPlans", "nnUNetPlans"), "resenc": (RESENC, RESENC)},
        ),
        # Those that prepare cases otherwise.
        (
            ["nnunet", "nnunet-2021", "nnunet-2018", "flare21"],
            None,
            {
                "nnunet-2021": ("nnUNetPlans2021", "nnUNetPlans2021"),
                "nnunet-2018": ("nnUNetPlans2018", "nnUNetPlans2018"),
                "flare21": ("nnUNetPlansFLARE21", "nnUNetPlansFLARE21"),
            },
        ),
    ],
)
def test_the_plans_whose_prepared_cases_are_used(recipes, spacing_mm, expected, planning):
    """At full resolution and at low resolution."""
    names = [planning(one["plans_name"], **one) if isinstance(one, dict) else one for one in recipes]
    plans = plans_of(recipes=names, planning={"spacing_mm": spacing_mm})
    assert plans.names == ALL
    for recipe, (full, low) in expected.items():
        cases = ["/".join(plans.cases_of(recipe, name)) for name in ALL]
        assert cases == [f"{full}/2d", f"{full}/3d_fullres", f"{low}/3d_lowres", f"{full}/3d_fullres"]
    assert set(plans.planning) == {*plans.of.values(), *(full for full, _ in expected.values())}
    if "nnUNetPlans" in plans.planning and "nnUNetPlans" not in expected:  # the default recipe's
        default = NNUNET.planning.model_copy(update={"spacing_mm": spacing_mm and tuple(spacing_mm)})
        assert plans.planning["nnUNetPlans"] == default


def test_a_recipe_that_is_called_as_a_folder_of_the_results(tmp_path):
    file = tmp_path / "plans.yaml"
    file.write_text("training: {epochs: 2}")
    with pytest.raises(ConfigurationError, match=r"plans\.yaml: a recipe cannot be called 'plans'"):
        plans_of(recipes=[str(file)])


# Edited plans.


@pytest.fixture
def edited(tmp_path):
    """A function that writes a plan with a cascade and further configurations, and gives the file's name."""
    fingerprint = fingerprint_of([((1.0, 0.75, 0.75), (432, 512, 512))])
    dataset = PlanInput(name="x", channel_names=("CT",), n_cases=40, n_outputs=2)

    def write(*, without=(), plans_name="nnUNetPlans", **added):
        data = plan_to_json(make_plan(fingerprint, dataset, PlannerRecipe())) | {"plans_name": plans_name}
        del data["configurations"]["3d_lowres"]["next_stage"]
        entries = data["configurations"] | added
        data["configurations"] = {name: entry for name, entry in entries.items() if name not in without}
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
    names = ["2d", "3d_fullres", "3d_lowres", "3d_fullres", "3d_fullres", "coarse", "coarse"]
    assert [plans.cases_of("nnunet", name) for name in plans.names] == [("mine", name) for name in names]
    assert plans.cascades == ("3d_cascade_fullres",)


def test_recipes_that_plan_alike_may_use_an_edited_plan(edited, file):
    plans = plans_of(plan=edited(), recipes=["nnunet", file("training: {epochs: 7}")])
    assert plans.of == {"nnunet": "nnUNetPlans", "mine": "nnUNetPlans"}
    with pytest.raises(ConfigurationError, match=r"several plans \(nnUNetPlans, nnUNetResEncUNetPlans\)"):
        plans_of(plan=edited(), recipes=["nnunet", "resenc"])


def test_a_further_cascade(edited):
    plans = plans_of(plan=edited(mine={"inherits_from": "3d_cascade_fullres", "batch_size": 4}))
    assert plans.cascades == ("3d_cascade_fullres", "mine")
    assert plans.cases_of("nnunet", "mine") == ("nnUNetPlans", "3d_fullres")
    alone = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    plans = plans_of(plan=edited(without=["3d_cascade_fullres"], mine=alone))
    assert plans.cascades == ("mine",)
    assert plans.cases_of("nnunet", "3d_cascade_fullres") == ("nnUNetPlans", "3d_fullres")


FULL = {"inherits_from": "3d_fullres"}
OTHER_CASCADE = "configuration mine: the workflow has cascades from 3d_lowres to the"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mine": {**FULL, "previous_stage": "2d"}}, OTHER_CASCADE),
        ({"mine": {**FULL, "previous_stage": "3d_lowres", "spacing": [2, 2, 2]}}, OTHER_CASCADE),
        ({"without": ["3d_lowres"]}, "its stage 3d_lowres is not a configuration of this plan"),
        ({"plans_name": "../x"}, "cannot be the name of a folder"),
        ({"plans_name": ""}, "cannot be the name of a folder"),
    ],
)
def test_edited_plans_that_are_refused(settings, message, edited):
    with pytest.raises(PlanError, match=message):
        plans_of(plan=edited(**settings))


def test_an_edited_plan_that_is_not_there():
    with pytest.raises(PlanError, match=r"none\.json does not exist"):
        plans_of(plan="none.json")


# Configurations that no plan can have, and pretrained weights.


def test_a_configuration_that_the_edited_plan_lacks(edited):
    with pytest.raises(
        ConfigurationError, match=r"there is no configuration 'large'; choose of 2d, .*, small"
    ):
        plans_of(plan=edited(small={"inherits_from": "2d"}), configurations=["large"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"configurations": ["4d"]}, r"^'configurations': there is no configuration '4d'; choose of 2d, "),
        ({"batch_size": {"4d": 2}}, r"'training\.batch_size': there is no configuration '4d'"),
        ({"pretrained": {"3d_full": "x"}}, r"'training\.pretrained': there is no configuration '3d_full'"),
        ({"selection": {"configurations": ["4d"]}}, r"'selection\.configurations': there is no .* '4d'"),
        ({"pretrained": "nowhere.pt"}, r"'training\.pretrained': there is no file nowhere\.pt"),
        ({"pretrained": {"2d": "nowhere.pt"}}, r"'training\.pretrained': there is no file nowhere\.pt"),
        ({"pretrained": {"2d": ""}}, r"'training\.pretrained\.2d': String should have at least 1 char"),
    ],
)
def test_names_that_no_plan_can_have_and_files_that_are_missing(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        plans_of(**settings if {"configurations", "selection"} & set(settings) else {"training": settings})


def test_the_content_of_weights_counts_and_neither_name_nor_age(file):
    def words(pretrained, configuration="2d"):
        (recipe,) = read(training={"pretrained": pretrained}).values()
        return pretrained_words(recipe, configuration)

    weights = file("weights", "model.pt")
    with pytest.raises(
        ConfigurationError, match=r"'training\.pretrained': .*model\.pt is damaged or holds no weights"
    ):
        plans_of(training={"pretrained": {"2d": weights}})
    Path(weights).write_bytes(save({"a": np.zeros(1)}))
    plans_of(training={"pretrained": {"2d": weights}})
    with ZipFile(weights, "w") as archive:
        archive.writestr("weights", "1")
    plans_of(training={"pretrained": {"2d": weights}})
    expected = [f"training.pretrained={digest_of(Path(weights))[:12]}"]
    assert words(None) == words({"2d": weights}, "3d_fullres") == []
    assert words(weights) == words({"2d": weights}) == words(weights, "3d_fullres") == expected
    os.utime(weights, (1, 1))
    copy = shutil.copy(weights, Path(weights).with_name("copy.pt"))
    assert words(str(copy)) == expected != words(file("others", "other.pt"))
