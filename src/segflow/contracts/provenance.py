"""How a result came about."""

from __future__ import annotations

from segflow.contracts.codec import Contract

__all__ = ["Provenance"]


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
