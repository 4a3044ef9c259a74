"""Fixed parameters: what the method decides before it sees the data."""

from segflow.recipes.augmentation import AugmentationRecipe
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import RECIPES, Recipe, recipe_named
from segflow.recipes.training import TrainingRecipe

__all__ = [
    "RECIPES",
    "AugmentationRecipe",
    "InferenceRecipe",
    "PlannerRecipe",
    "Recipe",
    "TrainingRecipe",
    "recipe_named",
]
