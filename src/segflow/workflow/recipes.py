"""Recipes of an experiment: named or from a file, with the changes its configuration asks for."""

from __future__ import annotations

from collections.abc import Mapping

from segflow.contracts.errors import ConfigurationError
from segflow.recipes.files import SECTIONS, changed, find_recipe
from segflow.recipes.recipe import Recipe
from segflow.workflow.config import WorkflowConfig

__all__ = ["plan_names", "read_recipes", "with_changes"]


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
        recipe = find_recipe(entry)
        if recipe.name in found:
            raise ConfigurationError(f"recipes: two are called '{recipe.name}'; rename one of the files")
        found[recipe.name] = with_changes(recipe, config)
    return found


def plan_names(recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """Name of the plan that each recipe uses; recipes that plan alike share a plan.

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


def with_changes(recipe: Recipe, config: WorkflowConfig) -> Recipe:
    """A recipe with the values that a configuration changes.

    Raises:
        ConfigurationError: A key that no recipe has, or a value that is not allowed.

    Source: ours.
    """
    changes = {section: getattr(config, section) for section in SECTIONS}
    return changed(recipe, changes, where="configuration")
