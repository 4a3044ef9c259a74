"""The recipes that come with segflow: their values, and where they are found."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

from segflow.commands.main import COMMANDS
from segflow.contracts.errors import ConfigurationError
from segflow.recipes import presets
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.listing import default_listing
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import SECTIONS, Recipe, find_recipe, recipe_named, recipe_names
from segflow.recipes.selection import PostprocessingRecipe, SelectionRecipe
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe
from segflow.workflow.code import closure

FOLDER = Path(presets.__file__).parent
FILES = sorted(FOLDER.glob("*.yaml"))
BASE = recipe_named("nnunet")

#: nnU-Net's presets, method.md section 6.6: planner, plans name, R in 3D and 2D, reference GPU, c, whether B0 fits.
TABLE = {
    "nnunet": ("ExperimentPlanner", "nnUNetPlans", 560e6, 85e6, 8, 0.05, False),
    "resenc": ("ResEncUNetPlanner", "nnUNetResEncUNetPlans", 680e6, 135e6, 8, 0.05, True),
    "resenc-m": ("nnUNetPlannerResEncM", "nnUNetResEncUNetMPlans", 680e6, 135e6, 8, 1, True),
    "resenc-l": ("nnUNetPlannerResEncL", "nnUNetResEncUNetLPlans", 2.1e9, 380e6, 24, 1, True),
    "resenc-xl": ("nnUNetPlannerResEncXL", "nnUNetResEncUNetXLPlans", 3.6e9, 560e6, 40, 1, True),
}
#: nnunet-2021: method.md section 26, left column.
FIRST_GENERATION = PlannerRecipe(
    plans_name="nnUNetPlans2021", planner="nnunet-2021", memory_3d=520e6 * 32 / 30, memory_2d=19_739_648 * 32 / 30,
    reference_batch_2d=50, start_patch="finest_512", batch_rounding="down", lone_axis_edges=2, max_features_2d=480,
    upsampling_bias=False, head_bias=False, low_resolution_step=1.01, resample_first=True, counts_channels=True,
)  # fmt: skip
#: Other recipes: every section that differs from nnunet's.
OTHERS = {
    "swift": {
        "training": TrainingRecipe(optimizer="muon", learning_rate=0.05, momentum=0.9, schedule_per="step")
    },
    "flare21": {
        "planning": FIRST_GENERATION.model_copy(update={
            "plans_name": "nnUNetPlansFLARE21", "planner": "flare21", "patch_3d": (80, 192, 160),
            "normalization": "ct", "separate_z": False, "norm_affine": False, "heads": 3,
        }),
        "training": TrainingRecipe(
            epochs=300, schedule_epochs=1000, loss="dice_topk", dice="squared", entropy_per_class=True,
            deep_supervision_weights=(0.7, 0.2, 0.1), batch_size={"3d_lowres": 2},
        ),
        "inference": InferenceRecipe(mirroring=("x",), average="probabilities"),
        "selection": SelectionRecipe(configurations=("3d_lowres",)),
        "postprocessing": PostprocessingRecipe(largest_component=False),
    },
    "nnunet-2018": {
        "planning": PlannerRecipe(
            plans_name="nnUNetPlans2018", planner="nnunet-2018", budget="voxels", memory_3d=128**3,
            memory_2d=256**2, reference_batch_2d=42, full_batch_must_fit=True, start_patch="median",
            batch_rounding="down", base_features=30, max_features_2d=480, max_poolings=5, lone_axis_edges=2,
            low_resolution_step=2, label_interpolation="nearest",
        ),
        "augmentation": AugmentationRecipe(
            p_elastic=0.2, p_noise=0, p_blur=0, p_brightness=0, p_contrast=0, p_low_resolution=0, p_gamma_inverted=0
        ),
        "postprocessing": PostprocessingRecipe(largest_component="if_single_in_labels"),
    },
    "nnunet-2021": {
        "planning": FIRST_GENERATION,
        "inference": InferenceRecipe(average="probabilities"),
    },
}  # fmt: skip
#: Defaults as in method.md sections 6.4-6.6, 12-16, 22, 23.
DEFAULTS = {
    "planning": PlannerRecipe(
        reference_batch_3d=2, reference_batch_2d=12, max_features_3d=320, max_features_2d=512,
        low_resolution_step=1.03, max_poolings=None,
    ),
    "training": TrainingRecipe(
        epochs=1000, iterations=250, validation_iterations=50, learning_rate=0.01, schedule_exponent=0.9,
        momentum=0.99, weight_decay=3e-5, gradient_clip_norm=12, foreground_share=0.33, loss="dice_ce",
        schedule_epochs=None, patience=None,
    ),
    "augmentation": AugmentationRecipe(
        rotation_3d_deg=30, rotation_2d_deg=180, scaling=(0.7, 1.4), gamma_split=(0.7, 1.5), p_elastic=0
    ),
    "inference": InferenceRecipe(step=0.5, gaussian_sigma=1 / 8, mirroring=True),
    "selection": SelectionRecipe(prefer_single_within=0),
    "postprocessing": PostprocessingRecipe(largest_component=True, remove_below_mm3=(), fill_holes=False),
}  # fmt: skip


@pytest.mark.parametrize("section", SECTIONS)
def test_defaults(section):
    assert getattr(BASE, section) == DEFAULTS[section]


@pytest.mark.parametrize(("batch", "n_forced"), [(2, 1), (9, 3), (12, 4), (32, 11), (1, 0)])
def test_the_last_third_of_a_batch_is_forced(batch, n_forced):
    assert TrainingRecipe().first_forced(batch) == batch - n_forced


@pytest.mark.parametrize("name", TABLE)
def test_presets_of_nnunet(name):
    planner, plans_name, memory_3d, memory_2d, gpu_gb, share, batch_fits = TABLE[name]
    network = {"encoder": "residual", "encoder_blocks": (1, 3, 4, 6), "decoder_blocks": 1}
    names = {"planner": planner, "plans_name": plans_name}
    if name != "nnunet":
        names |= {"data_name": "nnUNetPlans"} | network
    expected = PlannerRecipe(
        memory_3d=memory_3d, memory_2d=memory_2d, reference_gpu_gb=gpu_gb, gpu_memory_gb=gpu_gb,
        dataset_share=share, full_batch_must_fit=batch_fits, **names,
    )  # fmt: skip
    assert recipe_named(name) == BASE.model_copy(update={"name": name, "planning": expected})


@pytest.mark.parametrize("name", OTHERS)
def test_other_recipes(name):
    assert recipe_named(name) == BASE.model_copy(update={"name": name, **OTHERS[name]})


def test_every_recipe_is_tested():
    assert set(TABLE) | set(OTHERS) == {file.stem for file in FILES}
    assert recipe_names() == ("nnunet", *sorted((set(TABLE) | set(OTHERS)) - {"nnunet"}))


def test_the_listing_is_generated_from_the_models():
    """After a change of a default or its description: make format."""
    text = (FOLDER / "nnunet.yaml").read_text(encoding="utf-8")
    assert text == default_listing()
    assert Recipe.model_validate({"name": "nnunet", **yaml.safe_load(text)}) == BASE == Recipe(name="nnunet")
    described = [line for line in text.splitlines() if line.startswith("  # ")]
    assert any("Length of the learning-rate schedule" in line for line in described)


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.stem != "nnunet"], ids=lambda file: file.stem
)
def test_files_contain_only_what_differs(file):
    content = yaml.safe_load(file.read_text())
    base = recipe_named(content.pop("based_on")).model_dump(mode="json")
    same = [key for section, values in content.items() for key in values if base[section][key] == values[key]]
    assert not same


@pytest.mark.parametrize("name", ["nnunett", "../presets/nnunet", "nnunet.yaml/", "", "NNUNET", "__init__"])
def test_an_unknown_name_lists_the_known(name):
    message = (
        f"there is no recipe '{name}'; choose one of nnunet, flare21, nnunet-2018, nnunet-2021, resenc, "
        "resenc-l, resenc-m, resenc-xl, swift, or name"
    )
    for find in (recipe_named, find_recipe):
        with pytest.raises(ConfigurationError, match=message):
            find(name)


def test_a_file_may_be_based_on_any_of_them(tmp_path):
    (tmp_path / "mine.yaml").write_text("based_on: resenc-l\nplanning: {gpu_memory_gb: 12}")
    found = find_recipe(str(tmp_path / "mine.yaml"))
    assert found.name == "mine"
    assert found.planning == recipe_named("resenc-l").planning.model_copy(update={"gpu_memory_gb": 12})


@pytest.mark.parametrize("module", sorted(set(COMMANDS.values()) - {"run"}))  # which is no stage
def test_no_stage_depends_on_the_list_of_recipes(module):
    """Else a new recipe would repeat the stages of experiments that do not use it."""
    names = {name for name in closure(f"segflow.commands.{module}") if name.startswith("segflow.recipes")}
    assert not [
        name for name in names if "presets" in name or name.endswith((".recipe", ".listing", ".yaml"))
    ]


def test_the_link_in_config(repository):
    link = repository / "config" / "recipes"
    if not link.is_dir():
        pytest.skip("this checkout was made without links")
    assert link.resolve() == FOLDER.resolve()


def test_a_wheel_has_them(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["segflow"]
    packed = {file for pattern in patterns for file in (repository / "src" / "segflow").glob(pattern)}
    assert {file.resolve() for file in FILES} <= {file.resolve() for file in packed}
