"""Which prepared cases a configuration has: chunk by chunk, and over all chunks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segflow.contracts.artefacts import Manifest, PreparedData
from segflow.contracts.errors import PlanError
from segflow.io.files import digest_of, read_contract, write_text

__all__ = ["read_prepared", "write_prepared"]


def write_prepared(path: Path, manifests: Sequence[Path]) -> None:
    """Sum the manifests of all chunks up in one small file.

    Args:
        path: Of the sum.
        manifests: Of the chunks; they lie in or below the folder of `path`.

    Source: ours.
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

    Source: ours.
    """
    found: dict[str, str] = {}
    for name, digest in read_contract(PreparedData, path).chunks.items():
        file = path.parent / name
        if not file.exists() or digest_of(file) != digest:
            raise PlanError(f"{file} is not the file that {path} was made from; run the workflow again")
        found |= read_contract(Manifest, file).cases
    return found
