"""Versions of the program and of the libraries that shape its numbers."""

from __future__ import annotations

import platform
from importlib.metadata import version

from segflow import __version__

__all__ = ["versions"]

_LIBRARIES = ("torch", "numpy", "scipy", "SimpleITK", "batchgenerators", "snakemake")


def versions() -> dict[str, str]:
    """Name to version, segflow and Python first. Source: ours."""
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"segflow": __version__, "python": platform.python_version(), **libraries}
