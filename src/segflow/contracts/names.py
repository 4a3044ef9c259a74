"""The names of configurations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

__all__ = ["CONFIGURATION_NAMES", "SAFE_NAME", "ConfigurationName", "in_order"]

#: Names of files and folders are made of them; "+" joins those of a pair.
SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
#: One of those below, or of a plan that somebody has edited.
ConfigurationName = Annotated[str, Field(pattern=SAFE_NAME)]

#: Those the planner makes. Simpler first: ties in model selection go to the first.
CONFIGURATION_NAMES: tuple[str, ...] = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of configurations without repetition: the planner's, simpler first, then others as they come.

    Source: ours.
    """
    given = dict.fromkeys(names)
    known = [name for name in CONFIGURATION_NAMES if name in given]
    return (*known, *(name for name in given if name not in CONFIGURATION_NAMES))
