"""Recipes of an experiment: named or from a file, with the changes its configuration asks for.

Weights that trainings begin with: files of the user's, which decide the result by their content.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

from segflow.contracts.errors import ConfigurationError
from segflow.recipes.recipe import SECTIONS, Recipe, changed, find_recipe
from segflow.storage.files import digest_of
from segflow.workflow.config import WorkflowConfig

__all__ = [
    "check_pretrained",
    "digest_words",
    "plan_names",
    "read_recipes",
    "with_changes",
]


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
    """
    changes = {section: getattr(config, section) for section in SECTIONS}
    return changed(recipe, changes, where="configuration")


_DIGITS = 12


def check_pretrained(recipes: Mapping[str, Recipe], names: Collection[str]) -> None:
    """Refuse weights that are not there, and configurations that no plan has.

    Args:
        recipes: By name.
        names: Of all configurations that a plan may have.

    Raises:
        ConfigurationError: With the recipe and the file or the configuration.
    """
    for recipe in recipes.values():
        given = recipe.training.pretrained
        files = {} if given is None else given if isinstance(given, dict) else {"": given}
        for name, file in files.items():
            key = f"recipe '{recipe.name}': 'training.pretrained{name and '.'}{name}'"
            if name and name not in names:
                raise ConfigurationError(
                    f"{key}: there is no such configuration; choose of {', '.join(names)}"
                )
            if not Path(file).is_file():
                raise ConfigurationError(f"{key}: there is no file {file}")


@cache
def digest_words(file: str | None) -> tuple[str, ...]:
    """What stands for a file of weights among the parameters of a rule: its content, not its name or age.

    Args:
        file: The file, if there is one.

    Returns:
        One word, or none.
    """
    return () if file is None else (f"training.pretrained={digest_of(Path(file))[:_DIGITS]}",)
