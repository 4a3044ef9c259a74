"""Class probabilities on disk: half precision, compressed, one file per case."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from segflow.contracts.arrays import Scores
from segflow.contracts.errors import PredictionError
from segflow.io.files import write_atomically

__all__ = ["read_probabilities", "write_probabilities"]


def write_probabilities(path: Path, scores: Scores) -> None:
    """Write probabilities (k, z, y, x) as float16, atomically. Source: method.md section 26 (v1)."""

    def save(temporary: Path) -> None:
        np.savez_compressed(temporary, probabilities=scores.astype(np.float16))

    write_atomically(path, save)


def read_probabilities(path: Path) -> Scores:
    """Read what `write_probabilities` wrote.

    Returns:
        (k, z, y, x), float32.

    Raises:
        PredictionError: The file is missing or damaged.

    Source: ours.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            scores: Scores = stored["probabilities"].astype(np.float32)
    except FileNotFoundError:
        raise PredictionError(f"{path} does not exist; predict this fold again with probabilities") from None
    except (EOFError, KeyError, ValueError, zipfile.BadZipFile):
        raise PredictionError(f"{path} is damaged; predict this fold again with probabilities") from None
    return scores
