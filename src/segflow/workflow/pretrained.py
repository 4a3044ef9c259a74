"""Weights that trainings begin with: files of the user's, which decide the result by their content."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

from segflow.contracts.errors import ConfigurationError
from segflow.io.files import digest_of
from segflow.recipes.recipe import Recipe

__all__ = ["check_pretrained", "digest_words"]

_DIGITS = 12


def check_pretrained(recipes: Mapping[str, Recipe], names: Collection[str]) -> None:
    """Refuse weights that are not there, and configurations that no plan has.

    Args:
        recipes: By name.
        names: Of all configurations that a plan may have.

    Raises:
        ConfigurationError: With the recipe and the file or the configuration.

    Source: ours.
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

    Source: ours.
    """
    return () if file is None else (f"training.pretrained={digest_of(Path(file))[:_DIGITS]}",)
