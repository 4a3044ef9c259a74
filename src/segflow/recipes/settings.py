"""A section of a recipe as words of a command line, one per value, such as `training.learning_rate=0.01`.

The workflow passes a stage only the values it reads. Each word names its value, so that Snakemake, which compares sets
of words, notices when two values are swapped.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from segflow.contracts.codec import Contract
from segflow.contracts.errors import ConfigurationError

__all__ = ["parse_settings", "read_settings", "settings_of"]

C = TypeVar("C", bound=Contract)


def read_settings(file: Path) -> dict[str, Any]:
    """The content of a YAML file: a recipe or a configuration of the workflow.

    Raises:
        ConfigurationError: It cannot be read, is not YAML (with line and column), or has no sections.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as problem:
        raise ConfigurationError(f"{file} cannot be read: {problem.strerror}") from None
    except yaml.MarkedYAMLError as problem:
        place = problem.problem_mark
        where = f", line {place.line + 1}, column {place.column + 1}" if place else ""
        raise ConfigurationError(f"{file}{where}: not YAML: {problem.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as problem:  # ValueError: also of dates and numbers
        raise ConfigurationError(f"{file}: not YAML: {' '.join(str(problem).split())}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{file} must contain keys or sections such as 'training'")
    return content


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
        words: Such as "training.epochs=100"; later ones win. A value is JSON, a list or mapping in YAML, or text.

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
        if text[:1] not in {"{", "["}:
            return text
    try:
        return yaml.safe_load(text)  # typed by hand, as in {2d: 2}
    except (yaml.YAMLError, ValueError):
        return text
