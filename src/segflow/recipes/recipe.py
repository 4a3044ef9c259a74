"""Recipes: all fixed parameters of the method, by name or from YAML files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from segflow.contracts.codec import Contract
from segflow.contracts.errors import ConfigurationError
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.selection import PostprocessingRecipe, SelectionRecipe
from segflow.recipes.settings import read_settings
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe

__all__ = ["SECTIONS", "Recipe", "changed", "find_recipe", "recipe_named", "recipe_names"]

_DEFAULT = "nnunet"
_PRESETS = Path(__file__).with_name("presets")


class Recipe(Contract):
    """Everything that is decided before a data set is seen; its defaults are the recipe `nnunet`."""

    name: str
    planning: PlannerRecipe = PlannerRecipe()
    training: TrainingRecipe = TrainingRecipe()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    inference: InferenceRecipe = InferenceRecipe()
    selection: SelectionRecipe = SelectionRecipe()
    postprocessing: PostprocessingRecipe = PostprocessingRecipe()

    @model_validator(mode="after")
    def _predicts_what_was_trained(self) -> Self:
        if self.augmentation.p_mirror_axis == 0 and self.inference.mirroring is not False:
            raise ValueError(
                "with augmentation.p_mirror_axis 0 no network sees mirrored images; set inference.mirroring: false"
            )
        return self


SECTIONS = tuple(name for name in Recipe.model_fields if name != "name")
#: Values that may be null, by section.
_MAY_BE_NULL = {
    section: {key for key, value in values.items() if value is None}
    for section, values in Recipe(name="").model_dump(include=set(SECTIONS)).items()
}


def find_recipe(entry: str) -> Recipe:
    """A recipe by name, or from a YAML file, after which it is named.

    Raises:
        ConfigurationError: There is no such recipe, a key that no recipe has, or a value that is not allowed.
    """
    return _read(Path(entry)) if entry.endswith((".yaml", ".yml")) else recipe_named(entry)


@cache
def recipe_named(name: str) -> Recipe:
    """A recipe that comes with segflow.

    Raises:
        ConfigurationError: There is none of that name; the message lists those that exist.
    """
    if name not in recipe_names():
        raise ConfigurationError(
            f"there is no recipe '{name}'; choose one of {', '.join(recipe_names())}, or name a YAML file"
        )
    return Recipe(name=name) if name == _DEFAULT else _read(_PRESETS / f"{name}.yaml")


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with segflow, the default first."""
    found = {file.stem for file in _PRESETS.glob("*.yaml")}
    return (_DEFAULT, *sorted(found - {_DEFAULT}))


def changed(recipe: Recipe, changes: Mapping[str, Any], *, where: str, null_is_value: bool = False) -> Recipe:
    """A copy of a recipe with other values.

    Args:
        recipe: The original.
        changes: Section to key to value; None leaves a value unchanged.
        where: The file, for messages.
        null_is_value: None replaces a value that may be None, as in a recipe's file.

    Raises:
        ConfigurationError: A key that no recipe has, or a value that is not allowed.
    """
    merged: dict[str, Any] = recipe.model_dump()
    for section, values in changes.items():
        if section in SECTIONS and isinstance(values or {}, Mapping):
            nulls = _MAY_BE_NULL[section] if null_is_value else ()
            merged[section] |= {k: v for k, v in (values or {}).items() if v is not None or k in nulls}
        else:
            merged[section] = values
    return Recipe.parse(merged, where=where, error=ConfigurationError)


def _read(file: Path) -> Recipe:
    content = read_settings(file)
    if "name" in content:
        raise ConfigurationError(f"{file}: a recipe is named after its file; remove 'name'")
    based_on = content.pop("based_on", None) or _DEFAULT
    if based_on not in recipe_names():
        raise ConfigurationError(
            f"{file}: based_on must be one of {', '.join(recipe_names())}, found {based_on}; a recipe cannot be based "
            "on a file"
        )
    base = recipe_named(based_on)
    return changed(base.model_copy(update={"name": file.stem}), content, where=str(file), null_is_value=True)
