"""A folder of results that is complete or absent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from segflow.contracts.errors import ConfigurationError
from segflow.storage.files import temporary_folder

__all__ = ["write_folder"]


def write_folder(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files under a temporary name and rename the folder; it replaces one that was written so before.

    Args:
        folder: The folder.
        files: Path relative to it, with slashes, to content.

    Raises:
        ConfigurationError: The folder is there and holds none of these files.
    """
    if any(folder.glob("[!.]*")) and not any((folder / name).exists() for name in files):
        raise ConfigurationError(
            f"{folder} would be replaced, but its files come from elsewhere; choose another name"
        )
    with temporary_folder(folder.parent) as temporary:
        fresh = temporary / "new"
        for name, content in files.items():
            file = fresh / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        if folder.exists():
            folder.rename(temporary / "old")
        fresh.rename(folder)
