"""A section of a recipe as words of a command line, one per value, such as `training.learning_rate=0.01`.

The workflow passes a stage only the values it reads. Each word names its value, so that Snakemake, which compares sets
of words, notices when two values are swapped.
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
    """The values of a section (or only some fields) as "section.field=JSON", in the order of the fields.

    Equal values give equal words; fields that are None are left out.
    """
    plain = values.model_dump(mode="json")
    return tuple(
        f"{section}.{field}={json.dumps(value, sort_keys=True, separators=(',', ':'))}"
        for field, value in plain.items()
        if value is not None and (only is None or field in only)
    )


def parse_settings(kind: type[C], section: str, words: Iterable[str]) -> C:
    """The inverse of `settings_of`: a section from words; other fields have their defaults.

    Args:
        kind: The section's model.
        section: Its name; words of other sections are ignored.
        words: Such as "training.epochs=100"; later ones win. A value that is not JSON is text.

    Raises:
        ConfigurationError: A word has no "=", names a field that does not exist, or has a value that is not allowed.
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
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
