"""dataset_fingerprint.json. Source: method.md section 5."""

from __future__ import annotations

from pathlib import Path

from segflow.contracts.fingerprint import Fingerprint
from segflow.storage.files import read_contract

__all__ = ["read_fingerprint"]


def read_fingerprint(path: Path) -> Fingerprint:
    """Read dataset_fingerprint.json.

    Raises:
        PlanError: The file is missing or cannot be understood.

    Source: method.md section 5.
    """
    return read_contract(Fingerprint, path)
