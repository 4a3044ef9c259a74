"""Manifests: the prepared cases of a configuration, chunk by chunk and summed up; the label maps of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segflow.contracts.artefacts import Manifest, PreparedData
from segflow.contracts.errors import PlanError
from segflow.storage.files import changed_file, digests_of, read_contract, write_text

__all__ = ["list_label_maps", "read_prepared", "write_prepared"]


def write_prepared(path: Path, manifests: Sequence[Path]) -> None:
    """Sum the manifests of all chunks up in one small file.

    Args:
        path: Of the sum.
        manifests: Of the chunks; they lie in or below the folder of `path`.
    """
    n_cases = sum(len(read_contract(Manifest, file).cases) for file in manifests)
    chunks = digests_of(path.parent, sorted(manifests))
    write_text(path, PreparedData(cases=n_cases, chunks=chunks).to_json())


def read_prepared(path: Path) -> dict[str, str]:
    """All prepared cases.

    Args:
        path: As of `write_prepared`.

    Returns:
        Identifier to SHA-256 of what is stored.

    Raises:
        PlanError: A file is missing or cannot be understood, or a chunk has changed since.
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
    """The label maps of a folder, sorted by name.

    Args:
        folder: If it holds a manifest.json, only the cases named there count: others are of an earlier run. Hidden
            files are unfinished ones.
        ending: Of the files, with its dot.

    Returns:
        Their paths; empty if there are none.

    Raises:
        PlanError: The manifest cannot be understood.
    """
    manifest = folder / "manifest.json"
    if manifest.exists():
        return [folder / f"{case}{ending}" for case in sorted(read_contract(Manifest, manifest).cases)]
    return sorted(folder.glob(f"[!.]*{ending}"))
