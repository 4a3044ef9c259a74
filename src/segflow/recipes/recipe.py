"""The fixed parameters of the method, by name. Values and sources only; no code paths."""

from __future__ import annotations

from segflow.contracts.codec import Contract
from segflow.contracts.errors import ConfigurationError
from segflow.recipes.augmentation import AugmentationRecipe
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.postprocessing import PostprocessingRecipe
from segflow.recipes.training import TrainingRecipe

__all__ = ["RECIPES", "Recipe", "recipe_named"]


class Recipe(Contract):
    """Everything that is decided before a data set is seen. Each stage is told its own section only."""

    name: str
    planning: PlannerRecipe = PlannerRecipe()
    training: TrainingRecipe = TrainingRecipe()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    inference: InferenceRecipe = InferenceRecipe()
    postprocessing: PostprocessingRecipe = PostprocessingRecipe()


#: The peer's default preset (method.md section 6.6).
RECIPES: dict[str, Recipe] = {"nnunet": Recipe(name="nnunet")}


def recipe_named(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigurationError: There is none; the message lists those there are.

    Source: ours.
    """
    if name not in RECIPES:
        raise ConfigurationError(f"there is no recipe '{name}'; choose one of {', '.join(RECIPES)}")
    return RECIPES[name]
