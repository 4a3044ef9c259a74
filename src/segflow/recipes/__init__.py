"""Fixed parameters: what the method decides before it sees the data."""

from segflow.recipes.augmentation import AugmentationRecipe
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.postprocessing import PostprocessingRecipe
from segflow.recipes.recipe import RECIPES, Recipe, recipe_named
from segflow.recipes.settings import parse_settings, settings_of
from segflow.recipes.training import TrainingRecipe

__all__ = [
    "RECIPES",
    "AugmentationRecipe",
    "InferenceRecipe",
    "PlannerRecipe",
    "PostprocessingRecipe",
    "Recipe",
    "TrainingRecipe",
    "parse_settings",
    "recipe_named",
    "settings_of",
]
