"""Which prepared cases a configuration has: chunk by chunk, and over all chunks.

Which label maps a folder holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segflow.contracts.artefacts import Manifest, PreparedData
from segflow.contracts.errors import PlanError
from segflow.storage.files import digest_of, read_contract, write_text

__all__ = ["list_label_maps", "read_prepared", "write_prepared"]


def write_prepared(path: Path, manifests: Sequence[Path]) -> None:
    """Sum the manifests of all chunks up in one small file.

    Args:
        path: Of the sum.
        manifests: Of the chunks; they lie in or below the folder of `path`.
    """
    n_cases = sum(len(read_contract(Manifest, file).cases) for file in manifests)
    chunks = {str(file.relative_to(path.parent)): digest_of(file) for file in sorted(manifests)}
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
    found: dict[str, str] = {}
    for name, digest in read_contract(PreparedData, path).chunks.items():
        file = path.parent / name
        if not file.exists() or digest_of(file) != digest:
            raise PlanError(f"{file} is not the file that {path} was made from; run the workflow again")
        found |= read_contract(Manifest, file).cases
    return found


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
