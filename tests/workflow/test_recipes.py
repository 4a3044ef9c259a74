"""Recipes of an experiment: by name, from files, and with the configuration's changes."""

from __future__ import annotations

import pytest

from segflow.contracts.errors import ConfigurationError
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import Recipe, recipe_named
from segflow.recipes.training import TrainingRecipe
from segflow.workflow.config import WorkflowConfig
from segflow.workflow.recipes import plan_names, read_recipes

NNUNET = recipe_named("nnunet")


def read(**settings):
    data = {"dataset": "data", "output": "results", **settings}
    return read_recipes(WorkflowConfig.parse(data, where="c", error=ConfigurationError))


@pytest.fixture
def file(tmp_path):
    """A function that writes a recipe file and gives its name."""

    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


def test_the_default_is_the_peers():
    assert read() == {"nnunet": NNUNET}
    assert read(recipe="nnunet") == {"nnunet": NNUNET}


def test_a_name_that_does_not_exist():
    with pytest.raises(ConfigurationError, match=r"there is no recipe 'nnunett'; choose one of nnunet"):
        read(recipe="nnunett")


def test_a_file_says_what_differs(file):
    text = """
    based_on: nnunet
    training: {epochs: 7, batch_size: {2d: 3}}
    planning: {encoder: residual, encoder_blocks: [1, 3, 4], plans_name: MyPlans}
    inference:
      step: 0.25
      mirroring: null
    """
    (recipe,) = read(recipe=file(text)).values()
    assert recipe.name == "mine"
    assert recipe.training == TrainingRecipe(epochs=7, batch_size={"2d": 3})
    assert recipe.planning == PlannerRecipe(
        encoder="residual", encoder_blocks=(1, 3, 4), plans_name="MyPlans"
    )
    assert (recipe.inference.step, recipe.inference.mirroring) == (0.25, True)
    assert recipe.augmentation == NNUNET.augmentation
    assert recipe.postprocessing == NNUNET.postprocessing


@pytest.mark.parametrize("text", ["", "# nothing", "{}", "based_on: nnunet", "training: {}"])
@pytest.mark.parametrize("name", ["mine.yaml", "mine.yml"])
def test_a_file_may_say_nothing(text, name, file):
    assert read(recipe=file(text, name)) == {"mine": NNUNET.model_copy(update={"name": "mine"})}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("based_on: nnunett", "there is no recipe 'nnunett'; choose one of nnunet"),
        ("training: {epoch: 7}", r"mine\.yaml: unknown key 'training\.epoch': did you mean 'epochs'\?"),
        ("training: {epochs: 0}", r"mine\.yaml: 'training\.epochs': .* \(found 0\)"),
        ("trainng: {epochs: 7}", r"mine\.yaml: unknown key 'trainng': did you mean 'training'\?"),
        ("base_on: nnunet", r"mine\.yaml: unknown key 'base_on': "),
        ("training: 7", r"mine\.yaml: 'training': "),
        ("epochs: 7", r"mine\.yaml: unknown key 'epochs': "),
        ("training: {epochs: 7", r"mine\.yaml is not valid YAML: "),
        ("[training]", r"mine\.yaml must contain sections such as 'training'"),
        ("training", r"mine\.yaml must contain sections such as 'training'"),
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
    mine = file("training: {epochs: 7, iterations: 9}\ninference: {step: 0.25}")
    found = read(
        recipes=["nnunet", mine], training={"epochs": 3}, postprocessing={"largest_component": False}
    )
    assert list(found) == ["nnunet", "mine"]
    assert (found["nnunet"].training.epochs, found["nnunet"].training.iterations) == (3, 250)
    assert (found["mine"].training.epochs, found["mine"].training.iterations) == (3, 9)
    assert [recipe.inference.step for recipe in found.values()] == [0.5, 0.25]
    assert not any(recipe.postprocessing.largest_component for recipe in found.values())
    assert NNUNET.training.epochs == 1000  # and not the recipe itself


def test_null_in_the_configuration_is_no_change(file):
    mine = file("training: {epochs: 7, base_width: 4}")
    nulls = {"epochs": None, "base_width": None, "iterations": 5}
    (found,) = read(recipe=mine, training=nulls).values()
    assert found.training == TrainingRecipe(epochs=7, base_width=4, iterations=5)


def test_a_mapping_is_replaced_as_a_whole(file):
    mine = file("training: {batch_size: {2d: 3}}")
    (found,) = read(recipe=mine, training={"batch_size": {"3d_fullres": 2}}).values()
    assert found.training.batch_size == {"3d_fullres": 2}


def test_what_is_wrong_in_the_configuration_is_not_blamed_on_the_file(file):
    mine = file("training: {epochs: 7}")
    with pytest.raises(ConfigurationError, match=r"^configuration: 'training\.epochs': "):
        read(recipe=mine, training={"epochs": 0})


@pytest.mark.parametrize(
    "others", [["nnunet", "nnunet"], ["one/a.yaml", "two/a.yaml"], ["nnunet.yml", "nnunet"]]
)
def test_two_of_one_name(others, file):
    names = [file("{}", name) if "." in name else name for name in others]
    with pytest.raises(ConfigurationError, match=r"two are called '(a|nnunet)'; rename one of the files"):
        read(recipes=names)


def recipe(name, **planning):
    return Recipe(name=name, planning=PlannerRecipe(**planning))


def test_recipes_that_plan_alike_share_a_plan():
    recipes = {"a": recipe("a"), "b": recipe("b"), "c": recipe("c", plans_name="Other", base_features=8)}
    recipes["b"] = recipes["b"].model_copy(update={"training": TrainingRecipe(epochs=3)})
    assert plan_names(recipes) == {"a": "nnUNetPlans", "b": "nnUNetPlans", "c": "Other"}


def test_two_plans_of_one_name():
    recipes = {"a": recipe("a"), "b": recipe("b", gpu_memory_gb=24)}
    with pytest.raises(
        ConfigurationError,
        match=r"recipes 'a' and 'b' plan differently, .* 'nnUNetPlans'; .* another planning\.plans_name",
    ):
        plan_names(recipes)
    assert plan_names({**recipes, "b": recipe("b", gpu_memory_gb=24, plans_name="Large")})["b"] == "Large"


def test_plans_are_compared_after_the_changes(file):
    """A change that the configuration asks of all recipes is no conflict, whichever recipe is read first."""
    mine = file("training: {epochs: 7}")
    recipes = read(recipes=["nnunet", mine], planning={"gpu_memory_gb": 24})
    assert plan_names(recipes) == {"nnunet": "nnUNetPlans", "mine": "nnUNetPlans"}
