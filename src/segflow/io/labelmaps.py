"""Which label maps a folder holds."""

from __future__ import annotations

from pathlib import Path

from segflow.contracts.artefacts import Manifest
from segflow.io.files import read_contract

__all__ = ["list_label_maps"]


def list_label_maps(folder: Path, ending: str) -> list[Path]:
    """The label maps of a folder, sorted by name.

    Args:
        folder: If it holds a manifest.json, only the cases named there count: others are of an earlier run. Hidden
            files are unfinished ones.
        ending: Of the files, with its dot.

    Returns:
        Their paths; empty if there are none.

    Raises:
        PlanError: The manifest cannot be understood.

    Source: ours.
    """
    manifest = folder / "manifest.json"
    if manifest.exists():
        return [folder / f"{case}{ending}" for case in sorted(read_contract(Manifest, manifest).cases)]
    return sorted(folder.glob(f"[!.]*{ending}"))
