"""Small files that tie the workflow's stages together.

How a result came about.
"""

from __future__ import annotations

from segflow.contracts.codec import Contract

__all__ = [
    "CheckReport",
    "CheckedCase",
    "Manifest",
    "PreparedData",
    "Provenance",
]


class CheckedCase(Contract):
    """One case of a data set that was found sound.

    Attributes:
        identifier: Of the case.
        images: SHA-256 of each image file (with what belongs to it, see io/formats.py), keyed by its path relative to
            the data set.
        label: The same of the label file.
        shape: Voxels along z, y, x.
        spacing_mm: Along z, y, x.
        label_values: Those that occur, ascending.
    """

    identifier: str
    images: dict[str, str]
    label: dict[str, str]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    label_values: tuple[int, ...]


class CheckReport(Contract):
    """check.json: every case of the data set, and what its user should know."""

    dataset: str
    cases: tuple[CheckedCase, ...]
    warnings: tuple[str, ...]


class Manifest(Contract):
    """A finished set of per-case files: case identifier to the SHA-256 of what was written for it."""

    cases: dict[str, str]


class PreparedData(Contract):
    """All prepared cases of a configuration, small however many there are.

    Attributes:
        cases: How many.
        chunks: Manifest of each chunk, relative to this file, to its SHA-256.
    """

    cases: int
    chunks: dict[str, str]


class Provenance(Contract):
    """How a result came about. It lies beside the result, not in it: results are compared by their content.

    Attributes:
        command: As it was called.
        inputs: File to SHA-256.
        code: Module of segflow to digest, for all that the command imports.
        versions: Of segflow and the libraries that shape its numbers.
        device: Computed on.
        started, finished: UTC.

    """

    command: tuple[str, ...]
    inputs: dict[str, str]
    code: dict[str, str]
    versions: dict[str, str]
    device: str
    started: str
    finished: str
