"""The recipes that come with segflow, and where they are found."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

from segflow.commands.main import VERBS
from segflow.contracts.errors import ConfigurationError
from segflow.recipes import presets
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import SECTIONS, Recipe, find_recipe, recipe_named, recipe_names
from segflow.workflow.code import closure

FOLDER = Path(presets.__file__).parent
FILES = sorted(FOLDER.glob("*.yaml"))

#: The peer's presets, method.md section 6.6: planner, plans name, R in 3D and 2D, reference GPU, c, whether B0 fits.
TABLE = {
    "nnunet": ("ExperimentPlanner", "nnUNetPlans", 560e6, 85e6, 8, 0.05, False),
    "resenc": ("ResEncUNetPlanner", "nnUNetResEncUNetPlans", 680e6, 135e6, 8, 0.05, True),
    "resenc-m": ("nnUNetPlannerResEncM", "nnUNetResEncUNetMPlans", 680e6, 135e6, 8, 1, True),
    "resenc-l": ("nnUNetPlannerResEncL", "nnUNetResEncUNetLPlans", 2.1e9, 380e6, 24, 1, True),
    "resenc-xl": ("nnUNetPlannerResEncXL", "nnUNetResEncUNetXLPlans", 3.6e9, 560e6, 40, 1, True),
}


#: Recipes that are no preset of the peer's.
OTHERS = {"flare21", "nnunet-2018", "nnunet-2021"}


def test_a_file_for_every_recipe_that_is_tested():
    assert set(TABLE) | OTHERS == {file.stem for file in FILES}
    assert recipe_names() == ("nnunet", *sorted((set(TABLE) | OTHERS) - {"nnunet"}))


def test_flare21():
    found, base = recipe_named("flare21"), recipe_named("nnunet")
    assert (
        found.model_copy(update={"name": "nnunet", "training": base.training, "inference": base.inference})
        == base
    )
    training = {"epochs": 300, "schedule_epochs": 1000, "loss": "dice_topk"}
    training["deep_supervision_weights"] = (0.7, 0.2, 0.1)
    assert found.training == base.training.model_copy(update=training)
    assert found.training.top_k_share == 0.1
    assert found.inference == base.inference.model_copy(update={"mirroring": ("x",)})


def test_nnunet_2018():
    found, base = recipe_named("nnunet-2018"), recipe_named("nnunet")
    assert found.planning.budget == "voxels"
    assert (found.planning.memory_3d, found.planning.memory_2d) == (128**3, 256**2)
    assert (found.planning.reference_batch_3d, found.planning.reference_batch_2d) == (2, 42)
    assert (found.planning.base_features, found.planning.max_poolings) == (30, 5)
    assert found.augmentation == base.augmentation.model_copy(update={"p_elastic": 0.2})
    assert (found.training, found.inference) == (base.training, base.inference)


@pytest.mark.parametrize("name", TABLE)
def test_values_of_the_table(name):
    found = recipe_named(name)
    assert found.name == name
    recipe = found.planning
    assert (
        recipe.planner,
        recipe.plans_name,
        recipe.memory_3d,
        recipe.memory_2d,
        recipe.reference_gpu_gb,
        recipe.dataset_share,
        recipe.full_batch_must_fit,
    ) == TABLE[name]
    assert recipe.gpu_memory_gb == recipe.reference_gpu_gb
    network = ("plain", (2,), 2) if name == "nnunet" else ("residual", (1, 3, 4, 6), 1)
    assert (recipe.encoder, recipe.encoder_blocks, recipe.decoder_blocks) == network
    assert (recipe.reference_batch_3d, recipe.reference_batch_2d) == (2, 12)
    rest = {section: getattr(found, section) for section in SECTIONS if section != "planning"}
    assert rest == {section: getattr(recipe_named("nnunet"), section) for section in rest}


def test_nnunet_2021():
    """method.md section 26, left column."""
    found, base = recipe_named("nnunet-2021"), recipe_named("nnunet")
    planning = {
        "plans_name": "nnUNetPlans2021",
        "planner": "nnunet-2021",
        "memory_3d": pytest.approx(520e6 * 32 / 30),
        "memory_2d": pytest.approx(19_739_648 * 32 / 30),
        "reference_batch_2d": 50,
        "start_patch": "finest_512",
        "batch_rounding": "down",
        "low_resolution_step": 1.01,
        "resample_first": True,
    }
    assert found.planning.model_dump() == base.planning.model_dump() | planning
    assert found.inference == base.inference.model_copy(update={"average": "probabilities"})
    assert (found.training, found.augmentation) == (base.training, base.augmentation)


def test_the_default_file_spells_out_every_default():
    """It is the list of all that a recipe can change; the classes' defaults are the method's."""
    content = yaml.safe_load((FOLDER / "nnunet.yaml").read_text())
    assert list(content) == list(SECTIONS)
    for section in SECTIONS:
        assert list(content[section]) == list(Recipe.model_fields[section].annotation.model_fields), section
    assert recipe_named("nnunet") == Recipe(name="nnunet")
    plain = Recipe(name="nnunet").model_dump(mode="json")
    assert {section: content[section] for section in SECTIONS} == {name: plain[name] for name in SECTIONS}


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.stem != "nnunet"], ids=lambda file: file.stem
)
def test_other_files_say_only_what_differs(file):
    content = yaml.safe_load(file.read_text())
    base = recipe_named(content.pop("based_on"))
    for section, values in content.items():
        for key, value in values.items():
            before = getattr(getattr(base, section), key)
            assert before != (tuple(value) if isinstance(value, list) else value), key


def test_an_unknown_recipe_lists_the_known():
    message = (
        "there is no recipe 'nnunett'; choose one of nnunet, flare21, nnunet-2018, nnunet-2021, resenc, resenc-l, "
        "resenc-m, resenc-xl, or name"
    )
    for find in (recipe_named, find_recipe):
        with pytest.raises(ConfigurationError, match=message):
            find("nnunett")


@pytest.mark.parametrize("name", ["../presets/nnunet", "nnunet.yaml/", "", "NNUNET", "__init__"])
def test_a_name_is_no_path(name):
    with pytest.raises(ConfigurationError, match="there is no recipe"):
        recipe_named(name)


def test_a_file_may_be_based_on_any_of_them(tmp_path):
    (tmp_path / "mine.yaml").write_text("based_on: resenc-l\nplanning: {gpu_memory_gb: 12}")
    found = find_recipe(str(tmp_path / "mine.yaml"))
    assert found.name == "mine"
    assert found.planning == recipe_named("resenc-l").planning.model_copy(update={"gpu_memory_gb": 12})


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"gpu_memory_gb": 0}, "gpu_memory_gb"),
        ({"gpu_memory_gb": float("inf")}, "gpu_memory_gb"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, "spacing_mm"),
        ({"encoder_blocks": ()}, "encoder_blocks"),
        ({"base_features": 0}, "base_features"),
        ({"dataset_share": -1}, "dataset_share"),
        ({"low_resolution_step": 1.0}, "low_resolution_step"),
        ({"max_poolings": 0}, "max_poolings"),
        ({"start_patch": "large"}, "start_patch"),
        ({"budget": "bytes"}, "budget"),
        ({"batch_rounding": "up"}, "batch_rounding"),
    ],
)
def test_values_no_planner_can_have(changes, key):
    with pytest.raises(ConfigurationError, match=f"'{key}"):
        PlannerRecipe.parse(changes, where="x", error=ConfigurationError)


@pytest.mark.parametrize("module", sorted({module for module, _ in VERBS.values()}))
def test_no_stage_depends_on_the_recipes_there_are(module):
    """Else a recipe that is added would repeat the stages of those who do not use it."""
    names = {name for name in closure(f"segflow.commands.{module}") if name.startswith("segflow.recipes")}
    assert not [name for name in names if "presets" in name or name == "segflow.recipes.recipe"]
    assert not [name for name in names if name.endswith(".yaml")]


def test_the_link_for_people(repository):
    link = repository / "config" / "recipes"
    if not link.is_dir():
        pytest.skip("this checkout was made without links")
    assert link.resolve() == FOLDER.resolve()


def test_a_wheel_has_them(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["segflow"]
    packed = {file for pattern in patterns for file in (repository / "src" / "segflow").glob(pattern)}
    assert {file.resolve() for file in FILES} <= {file.resolve() for file in packed}
