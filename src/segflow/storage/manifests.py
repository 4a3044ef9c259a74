"""Manifests: the prepared cases of a configuration, per chunk and in total, and the label maps of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segflow.contracts.artefacts import Manifest, PreparedData
from segflow.contracts.errors import PlanError
from segflow.storage.files import changed_file, digests_of, read_contract, write_text

__all__ = ["list_label_maps", "read_prepared", "write_prepared"]


def write_prepared(path: Path, manifests: Sequence[Path]) -> None:
    """Write one small file for the manifests of all chunks, which lie in or below its folder."""
    n_cases = sum(len(read_contract(Manifest, file).cases) for file in manifests)
    chunks = digests_of(path.parent, sorted(manifests))
    write_text(path, PreparedData(cases=n_cases, chunks=chunks).to_json())


def read_prepared(path: Path) -> dict[str, str]:
    """All prepared cases of a file that `write_prepared` wrote.

    Returns:
        Identifier to SHA-256 of what is stored.

    Raises:
        PlanError: A file is missing or invalid, or a chunk has changed since.
    """
    chunks = read_contract(PreparedData, path).chunks
    changed = changed_file(path.parent, chunks)
    if changed is not None:
        raise PlanError(f"{changed} is not the file that {path} was made from; run the workflow again")
    cases: dict[str, str] = {}
    for name in chunks:
        cases |= read_contract(Manifest, path.parent / name).cases
    return cases


def list_label_maps(folder: Path, ending: str) -> list[Path]:
    """The label maps of a folder with a file ending such as ".nii.gz", sorted by name.

    If the folder has a manifest.json, only the cases named there count, since others are of an earlier run. Hidden
    files are unfinished ones.

    Raises:
        PlanError: The manifest is invalid.
    """
    manifest = folder / "manifest.json"
    if manifest.exists():
        return [folder / f"{case}{ending}" for case in sorted(read_contract(Manifest, manifest).cases)]
    return sorted(folder.glob(f"[!.]*{ending}"))
