"""The recipes of a call, the plans they use and whose prepared cases they share, and weights to begin with."""

from __future__ import annotations

import json
import os

import pytest

from segflow.contracts.errors import ConfigurationError, PlanError
from segflow.contracts.fingerprint import Fingerprint, IntensityProperties
from segflow.nnunet.plans import plan_to_json
from segflow.planning.plan import PlanInput, make_plan
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import recipe_named
from segflow.recipes.training import TrainingRecipe
from segflow.storage.files import digest_of
from segflow.workflow.config import WorkflowConfig
from segflow.workflow.recipes import pretrained_words, read_plans, read_recipes, training_words

NNUNET = recipe_named("nnunet")
PROPERTIES = IntensityProperties(
    max=4, mean=2, median=2, min=0, percentile_00_5=0.5, percentile_99_5=3.5, std=1
)
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

    def write(name, **values):
        return file(json.dumps({"planning": {"plans_name": name, **values}}), f"{name}.yaml")

    return write


def folders(plans, recipe, names=ALL):
    return ["/".join(plans.cases_of(recipe, name)) for name in names]


# Recipes by name and from files, with the configuration's changes.


def test_the_default_is_nnunets():
    assert read() == read(recipe="nnunet") == {"nnunet": NNUNET}
    with pytest.raises(ConfigurationError, match=r"there is no recipe 'nnunett'; choose one of nnunet"):
        read(recipe="nnunett")


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


@pytest.mark.parametrize("text", ["", "# nothing", "{}", "based_on: nnunet", "training: {}"])
def test_a_file_may_say_nothing(text, file):
    assert read(recipe=file(text, "mine.yml")) == {"mine": NNUNET.model_copy(update={"name": "mine"})}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("based_on: nnunett", "there is no recipe 'nnunett'; choose one of nnunet"),
        ("training: {epoch: 7}", r"mine\.yaml: unknown key 'training\.epoch': did you mean 'epochs'\?"),
        ("training: {epochs: 0}", r"mine\.yaml: 'training\.epochs': .* \(found 0\)"),
        ("trainng: {epochs: 7}", r"mine\.yaml: unknown key 'trainng': did you mean 'training'\?"),
        ("training: 7", r"mine\.yaml: 'training': "),
        ("training: {epochs: 7", r"mine\.yaml is not valid YAML: "),
        ("[training]", r"mine\.yaml must contain sections such as 'training'"),
        ("!!python/object/apply:os.getcwd []", r"mine\.yaml is not valid YAML: "),
    ],
)
def test_a_file_that_is_wrong(text, message, file):
    with pytest.raises(ConfigurationError, match=message):
        read(recipe=file(text))


def test_a_file_that_does_not_exist(tmp_path):
    with pytest.raises(ConfigurationError, match=r"recipe file .*other\.yaml cannot be read: No such file"):
        read(recipe=str(tmp_path / "other.yaml"))


def test_the_configuration_changes_every_recipe(file):
    mine = file("training: {epochs: 7, iterations: 9, base_width: 4}\ninference: {step: 0.25}")
    changes = {"training": {"epochs": 3, "base_width": None}, "postprocessing": {"largest_component": False}}
    found = read(recipes=["nnunet", mine], **changes)
    assert list(found) == ["nnunet", "mine"]
    assert found["nnunet"].training == TrainingRecipe(epochs=3)
    assert found["mine"].training == TrainingRecipe(
        epochs=3, iterations=9, base_width=4
    )  # null changes nothing
    assert [recipe.inference.step for recipe in found.values()] == [0.5, 0.25]
    assert not any(recipe.postprocessing.largest_component for recipe in found.values())
    assert NNUNET.training.epochs == 1000  # and not the recipe itself


def test_a_mapping_is_replaced_as_a_whole(file):
    mine = file("training: {batch_size: {2d: 3}}")
    (found,) = read(recipe=mine, training={"batch_size": {"3d_fullres": 2}}).values()
    assert found.training.batch_size == {"3d_fullres": 2}


def test_what_is_wrong_in_the_configuration_is_not_blamed_on_the_file(file):
    with pytest.raises(ConfigurationError, match=r"^configuration: 'training\.epochs': "):
        read(recipe=file("training: {epochs: 7}"), training={"epochs": 0})


@pytest.mark.parametrize(
    "others", [["nnunet", "nnunet"], ["one/a.yaml", "two/a.yaml"], ["nnunet.yml", "nnunet"]]
)
def test_two_of_one_name(others, file):
    names = [file("{}", name) if "." in name else name for name in others]
    with pytest.raises(ConfigurationError, match=r"two are called '(a|nnunet)'; rename one of the files"):
        read(recipes=names)


def test_words_of_a_training_are_those_it_reads():
    (recipe,) = read(training={"batch_size": {"2d": 3, "3d_fullres": 2}, "pretrained": "a.pt"}).values()
    words = training_words(recipe, "2d", is_cascade=False)
    assert 'training.batch_size={"2d":3}' in words
    assert not any("cascade" in word or "pretrained" in word or "max_features" in word for word in words)
    (recipe,) = read(training={"base_width": 8}).values()
    assert {word.partition("=")[0] for word in training_words(recipe, "2d", is_cascade=True)} >= {
        "augmentation.p_cascade_remove", "planning.max_features_2d", "planning.max_features_3d",
    }  # fmt: skip


# Plans.


def test_the_default():
    plans = plans_of()
    assert plans.of == {"nnunet": "nnUNetPlans"}
    assert plans.planning == {"nnUNetPlans": NNUNET.planning}
    assert plans.names == ALL
    assert folders(plans, "nnunet") == [
        "nnUNetPlans/2d",
        "nnUNetPlans/3d_fullres",
        "nnUNetPlans/3d_lowres",
        "nnUNetPlans/3d_fullres",
    ]


def test_recipes_that_plan_alike_share_a_plan(file, planning):
    alike = file("training: {epochs: 3}", "alike.yaml")
    plans = plans_of(recipes=["nnunet", alike, planning("Other", base_features=8)])
    assert plans.of == {"nnunet": "nnUNetPlans", "alike": "nnUNetPlans", "Other": "Other"}


def test_two_plans_of_one_name(file):
    """They are compared after the changes of the configuration, which concern all recipes."""
    recipes = ["nnunet", file("planning: {gpu_memory_gb: 24}")]
    message = (
        r"recipes 'nnunet' and 'mine' plan differently, .* 'nnUNetPlans'; .* another planning\.plans_name"
    )
    with pytest.raises(ConfigurationError, match=message):
        plans_of(recipes=recipes)
    assert set(plans_of(recipes=recipes, planning={"gpu_memory_gb": 24}).of.values()) == {"nnUNetPlans"}


@pytest.mark.parametrize("recipes", [["nnunet", "resenc-l"], ["resenc-l", "nnunet"], ["resenc-l"]])
def test_presets_share_cases_at_full_resolution_whoever_takes_part(recipes):
    plans = plans_of(recipes=recipes)
    assert plans.of["resenc-l"] == "nnUNetResEncUNetLPlans"
    assert set(plans.planning) == {"nnUNetPlans", "nnUNetResEncUNetLPlans"}
    assert plans.planning["nnUNetPlans"] == NNUNET.planning
    assert folders(plans, "resenc-l") == [
        "nnUNetPlans/2d",
        "nnUNetPlans/3d_fullres",
        "nnUNetResEncUNetLPlans/3d_lowres",
        "nnUNetPlans/3d_fullres",
    ]


def test_recipes_of_ones_own_share_unless_their_spacing_differs(planning):
    plans = plans_of(recipes=[planning("large", gpu_memory_gb=24), planning("fine", spacing_mm=[1, 1, 1])])
    assert folders(plans, "large", ["2d", "3d_lowres"]) == ["nnUNetPlans/2d", "large/3d_lowres"]
    assert folders(plans, "fine", ["2d", "3d_lowres"]) == ["fine/2d", "fine/3d_lowres"]
    assert set(plans_of(recipe=planning("fine", spacing_mm=[1, 1, 1])).planning) == {"fine"}


def test_a_spacing_for_all_recipes_is_shared(planning):
    spacing = {"spacing_mm": [2.0, 1.0, 1.0]}
    plans = plans_of(recipes=["resenc", planning("fine", spacing_mm=[1, 1, 1])], planning=spacing)
    assert plans.planning["nnUNetPlans"].spacing_mm == (2.0, 1.0, 1.0)
    assert folders(plans, "resenc", ["2d"]) == folders(plans, "fine", ["2d"]) == ["nnUNetPlans/2d"]


def test_the_default_name_may_be_somebody_elses(file):
    """Its cases are those of that recipe, so only those with the same spacing share them."""
    plans = plans_of(recipes=["resenc", file("planning: {spacing_mm: [1, 1, 1]}")])
    assert folders(plans, "mine", ["2d"]) == ["nnUNetPlans/2d"]
    assert folders(plans, "resenc", ["2d"]) == ["nnUNetResEncUNetPlans/2d"]


def test_cases_that_are_resampled_first_are_shared_with_nobody():
    plans = plans_of(recipes=["nnunet", "nnunet-2021", "nnunet-2018", "flare21"])
    cases = {name: plans.cases_of(name, "3d_fullres")[0] for name in plans.of}
    assert cases == dict.fromkeys(plans.of, "nnUNetPlans") | {"nnunet-2021": "nnUNetPlans2021"}
    assert plans.cases_of("nnunet-2018", "3d_lowres") == ("nnUNetPlans2018", "3d_lowres")


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
        data = plan_to_json(make_plan(fingerprint, dataset, PlannerRecipe(plans_name=plans_name)))
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
    names = ["2d", "3d_fullres", "3d_lowres", "3d_fullres", "3d_fullres", "coarse", "coarse"]
    assert folders(plans, "nnunet", plans.names) == [f"mine/{name}" for name in names]
    assert plans.cascades == ("3d_cascade_fullres",)


def test_recipes_that_plan_alike_may_use_an_edited_plan(edited, file):
    plans = plans_of(plan=edited(), recipes=["nnunet", file("training: {epochs: 7}")])
    assert plans.of == {"nnunet": "nnUNetPlans", "mine": "nnUNetPlans"}
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


OTHER_CASCADE = "configuration mine: the workflow has cascades from 3d_lowres to the"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mine": {"inherits_from": "3d_fullres", "previous_stage": "2d"}}, OTHER_CASCADE),
        (
            {"mine": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres", "spacing": [2, 2, 2]}},
            OTHER_CASCADE,
        ),
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


# Configurations that no plan can have, and weights to begin with.


@pytest.fixture
def weights(file):
    return file("weights", "model.pt")


def test_a_configuration_that_the_edited_plan_lacks(edited):
    with pytest.raises(ConfigurationError, match=r"plans\.json has no 'large'; choose of 2d, .*, small"):
        plans_of(plan=edited(small={"inherits_from": "2d"}), configurations=["large"])


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (
            {"batch_size": {"4d": 2}},
            r"'training\.batch_size\.4d': there is no such configuration; choose of 2d, ",
        ),
        (
            {"pretrained": {"3d_full": "x"}},
            r"'training\.pretrained\.3d_full': there is no such configuration",
        ),
        ({"pretrained": "nowhere.pt"}, r"'training\.pretrained': there is no file nowhere\.pt"),
        ({"pretrained": {"2d": "nowhere.pt"}}, r"'training\.pretrained\.2d': there is no file nowhere\.pt"),
        ({"pretrained": {"2d": ""}}, r"'training\.pretrained\.2d': there is no file "),
    ],
)
def test_what_a_training_cannot_have(training, message):
    with pytest.raises(ConfigurationError, match=f"recipe 'nnunet': {message}"):
        plans_of(training=training)


def test_the_content_of_weights_counts_and_neither_name_nor_age(file, weights, tmp_path):
    def words(pretrained, configuration="2d"):
        (recipe,) = read(training={"pretrained": pretrained}).values()
        return pretrained_words(recipe, configuration)

    plans_of(training={"pretrained": {"2d": weights}})
    expected = [f"training.pretrained={digest_of(tmp_path / 'model.pt')[:12]}"]
    assert words(None) == words({"2d": weights}, "3d_fullres") == []
    assert words(weights) == words({"2d": weights}) == words(weights, "3d_fullres") == expected
    os.utime(weights, (1, 1))
    assert words(file("weights", "copy.pt")) == expected != words(file("others", "other.pt"))
