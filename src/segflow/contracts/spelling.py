"""Paths, names and numbers that can be written in several ways."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

__all__ = ["nfc", "path_text", "whole_number"]


def path_text(given: str) -> str:
    """A path as its user means it: `~` is their home, and one that begins with `-` is no option of a command."""
    path = Path(os.path.expanduser(given))  # noqa: PTH111  a user that does not exist is no fault: it may be a name
    return str(path.absolute() if str(path).startswith("-") else path)


def nfc(name: str) -> str:
    """The one spelling of a name whose accents may be characters of their own, as macOS writes them (NFD)."""
    return unicodedata.normalize("NFC", name)


def whole_number(value: object) -> int | None:
    """A whole number, also one written as text ("2") or with a point (2.0), as other programs do; None for all else."""
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value):
        return int(value)
    is_whole = type(value) is int or (isinstance(value, float) and value.is_integer())
    return int(value) if is_whole else None  # type: ignore[call-overload]
