"""Where the workflow's own files and the recipes are: in a checkout beside `src`, in an installed package inside it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["PARTS", "location"]

#: What there is, by name: path below the root.
PARTS = {
    "workflow": "Snakefile",
    "config": "config/config.yaml",
    "profile": "profiles/default",
    "slurm": "workflow/profiles/slurm",
}
_PACKAGE = Path(__file__).parents[1]


def location(part: str) -> Path:
    """The file or folder of a part of the workflow, or of the recipes."""
    if part == "recipes":
        return _PACKAGE / "recipes" / "presets"
    checkout = _PACKAGE.parents[1]
    root = checkout if (checkout / "Snakefile").is_file() else _PACKAGE / "pipeline"
    return root / PARTS[part]
