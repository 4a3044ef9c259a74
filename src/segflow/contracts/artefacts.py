"""Small files of the workflow: what a check found, lists of finished files, and provenance."""

from __future__ import annotations

from segflow.contracts.codec import Contract

__all__ = ["CheckReport", "CheckedCase", "Manifest", "PreparedData", "Provenance"]


class CheckedCase(Contract):
    """A case that passed all checks.

    Attributes:
        identifier: Name of the case.
        images, label: SHA-256 of each file and its companions (images/formats.py), by path relative to the data set.
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
    """check.json: the cases of a data set, and warnings."""

    dataset: str
    cases: tuple[CheckedCase, ...]
    warnings: tuple[str, ...]


class Manifest(Contract):
    """A finished set of per-case files: case identifier to the SHA-256 of what was written for it."""

    cases: dict[str, str]


class PreparedData(Contract):
    """The number of prepared cases of a configuration, and the SHA-256 of each chunk's manifest by relative path."""

    cases: int
    chunks: dict[str, str]


class Provenance(Contract):
    """How a result came about; beside the result, not in it, since results are compared by their content.

    Attributes:
        command: The command line.
        inputs: File to SHA-256.
        code: Module of segflow to digest, for every module that the command imports.
        versions: segflow, and the libraries that affect its numbers.
        device: What it was computed on.
        started, finished: UTC.
    """

    command: tuple[str, ...]
    inputs: dict[str, str]
    code: dict[str, str]
    versions: dict[str, str]
    device: str
    started: str
    finished: str
