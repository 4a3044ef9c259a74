"""Small files of the workflow: what a check found, lists of finished files, and provenance."""

from __future__ import annotations

from segflow.contracts.arrays import Shape3, SpacingMm
from segflow.contracts.codec import Contract

__all__ = ["CheckReport", "CheckedCase", "Manifest", "PreparedData", "Provenance"]


class CheckedCase(Contract):
    """A case that passed all checks.

    Attributes:
        images, label: SHA-256 of each file and its companions (images/formats.py), by path relative to the data set.
        shape: Voxels along z, y, x.
        spacing_mm: Along z, y, x.
        label_values: Those that occur, ascending.
    """

    identifier: str
    images: dict[str, str]
    label: dict[str, str]
    shape: Shape3
    spacing_mm: SpacingMm
    label_values: tuple[int, ...]


class CheckReport(Contract):
    """check.json: the cases of a data set, and warnings."""

    dataset: str
    cases: tuple[CheckedCase, ...]
    warnings: tuple[str, ...]


class Manifest(Contract):
    """A finished set of per-case files: the SHA-256 of what was written for each case, by identifier."""

    cases: dict[str, str]


class PreparedData(Contract):
    """The number of prepared cases of a configuration, and the SHA-256 of each chunk's manifest by relative path."""

    cases: int
    chunks: dict[str, str]


class Provenance(Contract):
    """How a result came about; kept beside the result, not in it, because results are compared by content.

    Attributes:
        inputs: SHA-256 by file.
        code: Digest of every module of segflow that the command imports.
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
