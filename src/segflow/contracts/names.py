"""The names of the four configurations."""

from __future__ import annotations

from typing import Literal

__all__ = ["CONFIGURATION_NAMES", "ConfigurationName"]

ConfigurationName = Literal["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]

#: Simpler first: ties in model selection go to the first.
CONFIGURATION_NAMES: tuple[ConfigurationName, ...] = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")
