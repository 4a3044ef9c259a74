"""Class probabilities on disk: half precision, compressed, one file per case."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segflow.contracts.arrays import Scores
from segflow.contracts.errors import PredictionError
from segflow.io.files import write_atomically

__all__ = ["read_probabilities", "write_probabilities"]

_KEY = "probabilities"


def write_probabilities(path: Path, scores: Scores) -> None:
    """Write probabilities (k, z, y, x) as float16, atomically. Source: method.md section 26 (v1's precision)."""

    def save(temporary: Path) -> None:
        np.savez_compressed(temporary, **{_KEY: scores.astype(np.float16)})

    write_atomically(path, save)


def read_probabilities(path: Path) -> Scores:
    """Read what `write_probabilities` wrote.

    Returns:
        (k, z, y, x), float32.

    Raises:
        PredictionError: The file is missing.

    Source: ours.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            scores: Scores = stored[_KEY].astype(np.float32)
    except FileNotFoundError:
        raise PredictionError(f"{path} does not exist; predict this fold again with probabilities") from None
    return scores
