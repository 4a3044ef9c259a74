"""A section of a recipe as plain words, one per value: `training.learning_rate=0.01`.

That is how the workflow hands a stage just the values it reads: they stand on its command line, and Snakemake compares
them word by word. A value carries its name, so that two values that trade places are a change.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from segflow.contracts.codec import Contract
from segflow.contracts.errors import ConfigurationError

__all__ = ["parse_settings", "settings_of"]

C = TypeVar("C", bound=Contract)


def settings_of(section: str, values: Contract, *, only: Collection[str] | None = None) -> tuple[str, ...]:
    """Every value of a section, spelled in one way only.

    Args:
        section: Such as "training".
        values: The section.
        only: Fields to give; None for all.

    Returns:
        "section.field=JSON", in the order of the fields; fields that are None are left out.
    """
    plain = values.model_dump(mode="json")
    return tuple(
        f"{section}.{field}={json.dumps(value, sort_keys=True, separators=(',', ':'))}"
        for field, value in plain.items()
        if value is not None and (only is None or field in only)
    )


def parse_settings(kind: type[C], section: str, words: Iterable[str]) -> C:
    """The section that words describe; what they leave out has its default.

    Args:
        kind: Of the section.
        section: Its name; words of other sections are passed over.
        words: Such as "training.epochs=100"; later ones win.

    Returns:
        The section.

    Raises:
        ConfigurationError: A word has no "=", or names a field that does not exist, or the value is not allowed.
    """
    given: dict[str, Any] = {}
    for word in words:
        name, separator, text = word.partition("=")
        of, _, field = name.partition(".")
        if not separator or not field:
            raise ConfigurationError(f"setting '{word}' is not of the form SECTION.NAME=VALUE")
        if of == section:
            given[field] = _value(text)
    return kind.parse(given, where=f"settings of {section}", error=ConfigurationError)


def _value(text: str) -> Any:
    """JSON where it is JSON, else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
