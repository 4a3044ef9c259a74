"""All fixed parameters of the method, together. Values and sources only; no code paths."""

from __future__ import annotations

from segflow.contracts.codec import Contract
from segflow.recipes.augmentation import AugmentationRecipe
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.postprocessing import PostprocessingRecipe
from segflow.recipes.selection import SelectionRecipe
from segflow.recipes.training import TrainingRecipe

__all__ = ["Recipe"]


class Recipe(Contract):
    """Everything that is decided before a data set is seen. Each stage is told its own section only."""

    name: str
    planning: PlannerRecipe = PlannerRecipe()
    training: TrainingRecipe = TrainingRecipe()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    inference: InferenceRecipe = InferenceRecipe()
    selection: SelectionRecipe = SelectionRecipe()
    postprocessing: PostprocessingRecipe = PostprocessingRecipe()
