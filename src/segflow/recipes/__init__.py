"""Fixed parameters: what the method decides before it sees the data.

Named recipes and recipe files are read by `segflow.recipes.files`, which needs a YAML parser and is not passed on here.
"""

from segflow.recipes.augmentation import AugmentationRecipe
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.postprocessing import PostprocessingRecipe
from segflow.recipes.recipe import Recipe
from segflow.recipes.selection import SelectionRecipe
from segflow.recipes.settings import parse_settings, settings_of
from segflow.recipes.training import TrainingRecipe

__all__ = [
    "AugmentationRecipe",
    "InferenceRecipe",
    "PlannerRecipe",
    "PostprocessingRecipe",
    "Recipe",
    "SelectionRecipe",
    "TrainingRecipe",
    "parse_settings",
    "settings_of",
]
