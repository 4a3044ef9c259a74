"""All fixed parameters of the method, together. Values and sources only; no code paths.

Recipes as files: those that come with segflow, by name, and those a user writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from segflow.contracts.codec import Contract
from segflow.contracts.errors import ConfigurationError
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.selection import PostprocessingRecipe, SelectionRecipe
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe

__all__ = [
    "SECTIONS",
    "Recipe",
    "changed",
    "find_recipe",
    "recipe_named",
    "recipe_names",
]


class Recipe(Contract):
    """Everything that is decided before a data set is seen. Each stage is told its own section only."""

    name: str
    planning: PlannerRecipe = PlannerRecipe()
    training: TrainingRecipe = TrainingRecipe()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    inference: InferenceRecipe = InferenceRecipe()
    selection: SelectionRecipe = SelectionRecipe()
    postprocessing: PostprocessingRecipe = PostprocessingRecipe()


SECTIONS = tuple(name for name in Recipe.model_fields if name != "name")
_DEFAULT = "nnunet"
_ENDINGS = (".yaml", ".yml")


def find_recipe(entry: str) -> Recipe:
    """A recipe by name, or from a file.

    Args:
        entry: A name, or a YAML file that says what it is `based_on` and which values of which sections differ.

    Returns:
        The recipe; that of a file is called as the file, without its ending.

    Raises:
        ConfigurationError: There is no such recipe, a key that no recipe has, or a value that is not allowed.
    """
    return _read(Path(entry)) if entry.endswith(_ENDINGS) else recipe_named(entry)


@cache
def recipe_named(name: str) -> Recipe:
    """A recipe that comes with segflow.

    Raises:
        ConfigurationError: There is none of that name; the message lists those there are.
    """
    if name not in recipe_names():
        raise ConfigurationError(
            f"there is no recipe '{name}'; choose one of {', '.join(recipe_names())}, or name a YAML file"
        )
    return _read(_presets() / f"{name}.yaml")


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with segflow, the default one first."""
    found = {file.stem for file in _presets().glob("*.yaml")}
    return (_DEFAULT, *sorted(found - {_DEFAULT}))


def changed(recipe: Recipe, changes: Mapping[str, Any], *, where: str) -> Recipe:
    """A recipe with other values.

    Args:
        recipe: The recipe, which stays as it is.
        changes: Section to key to value; null stands for "as it is".
        where: The file, for messages.

    Returns:
        The changed recipe.

    Raises:
        ConfigurationError: A key that no recipe has, or a value that is not allowed.
    """
    merged: dict[str, Any] = recipe.model_dump()
    for section, values in changes.items():
        if section in SECTIONS and isinstance(values or {}, Mapping):
            merged[section] |= {key: value for key, value in (values or {}).items() if value is not None}
        else:
            merged[section] = values
    return Recipe.parse(merged, where=where, error=ConfigurationError)


def _presets() -> Path:
    return Path(__file__).with_name("presets")


def _read(file: Path) -> Recipe:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as problem:
        raise ConfigurationError(f"recipe file {file} cannot be read: {problem.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise ConfigurationError(f"{file} is not valid YAML: {problem}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{file} must hold sections such as 'training'")
    if "name" in content:
        raise ConfigurationError(f"{file}: a recipe is called as its file; leave out 'name'")
    return changed(_base(file, content.pop("based_on", None)), content, where=str(file))


def _base(file: Path, name: str | None) -> Recipe:
    """What a file's values are changes of, under the file's name."""
    if name is None and file == _presets() / f"{_DEFAULT}.yaml":
        return Recipe(name=_DEFAULT)
    return recipe_named(str(name or _DEFAULT)).model_copy(update={"name": file.stem})
