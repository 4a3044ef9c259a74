"""Recipes of an experiment: named or from a file, with the changes its configuration asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from segflow.contracts.errors import ConfigurationError
from segflow.recipes.recipe import Recipe, recipe_named
from segflow.workflow.config import WorkflowConfig

__all__ = ["plan_names", "read_recipes"]

_SECTIONS = ("planning", "training", "augmentation", "inference", "postprocessing")
_FILE_ENDINGS = (".yaml", ".yml")


def read_recipes(config: WorkflowConfig) -> dict[str, Recipe]:
    """The recipes a configuration names, its changes applied to each.

    Args:
        config: Of the workflow. A recipe is a name, or a YAML file that says what it is `based_on` and which values of
            which sections differ.

    Returns:
        Name (of a file, without its ending) to recipe.

    Raises:
        ConfigurationError: There is no such recipe, a key that no recipe has, a value that is not allowed, or two
            recipes of one name.

    Source: ours.
    """
    found: dict[str, Recipe] = {}
    for entry in config.recipe_names:
        recipe = _read(Path(entry)) if entry.endswith(_FILE_ENDINGS) else recipe_named(entry)
        if recipe.name in found:
            raise ConfigurationError(f"recipes: two are called '{recipe.name}'; rename one of the files")
        changes = {section: getattr(config, section) for section in _SECTIONS}
        found[recipe.name] = _changed(recipe, changes, where="configuration")
    return found


def plan_names(recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """Name of the plan that each recipe uses; recipes that plan alike share a plan and its prepared cases.

    Args:
        recipes: By name.

    Returns:
        Recipe name to plan name: `plans_name`, as the peer calls its presets.

    Raises:
        ConfigurationError: Two recipes plan differently under one name.

    Source: ours.
    """
    by_plan: dict[str, tuple[str, Recipe]] = {}
    for name, recipe in recipes.items():
        plans_name = recipe.planning.plans_name
        other, first = by_plan.setdefault(plans_name, (name, recipe))
        if first.planning != recipe.planning:
            raise ConfigurationError(
                f"recipes '{other}' and '{name}' plan differently, but both call their plan '{plans_name}'; "
                "give one of them another planning.plans_name"
            )
    return {name: recipe.planning.plans_name for name, recipe in recipes.items()}


def _read(file: Path) -> Recipe:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as problem:
        raise ConfigurationError(f"recipe file {file} cannot be read: {problem.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise ConfigurationError(f"{file} is not valid YAML: {problem}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{file} must hold sections such as 'training'")
    based_on = recipe_named(str(content.pop("based_on", "nnunet")))
    if "name" in content:
        raise ConfigurationError(f"{file}: a recipe is called as its file; leave out 'name'")
    return _changed(based_on.model_copy(update={"name": file.stem}), content, where=str(file))


def _changed(recipe: Recipe, changes: Mapping[str, Any], *, where: str) -> Recipe:
    """A recipe with other values; null stands for "as it is"."""
    merged: dict[str, Any] = recipe.model_dump()
    for section, values in changes.items():
        if section in _SECTIONS and isinstance(values or {}, Mapping):
            merged[section] |= {key: value for key, value in (values or {}).items() if value is not None}
        else:
            merged[section] = values
    return Recipe.parse(merged, where=where, error=ConfigurationError)
