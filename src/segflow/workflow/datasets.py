"""The data sets of an experiment, as the workflow needs to know them before any job runs.

Cases are handled in chunks, a job each. Adding a case changes one chunk, and the number of chunks is bounded.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from segflow.contracts.errors import ConfigurationError
from segflow.images.dataset import list_files, read_description
from segflow.nnunet.folds import read_folds
from segflow.planning.folds import N_FOLDS
from segflow.workflow.config import WorkflowConfig

__all__ = ["SourceData", "chunk_count", "chunk_of", "read_sources"]

#: What dataset.json says about images and labels.
_MEANING = ("channel_names", "labels", "regions_class_order", "file_ending")


@dataclass(frozen=True, kw_only=True)
class SourceData:
    """A data set on disk.

    Attributes:
        folder: As the configuration names it.
        chunks: Raw files of each chunk's cases.
        cases: A word that changes when a case is added or removed.
        meaning: What dataset.json says about images and labels, one word per key. A change of anything else in that
            file (a description, a licence) re-runs nothing.
        n_folds: Of its own split, or five.
        own_folds: Its splits_final.json, if it has one.
    """

    folder: str
    chunks: list[list[str]]
    cases: str
    meaning: list[str]
    n_folds: int
    own_folds: list[str]

    @property
    def description(self) -> str:
        """Its dataset.json."""
        return f"{self.folder}/dataset.json"

    @property
    def n_chunks(self) -> int:
        """Number of chunks."""
        return len(self.chunks)


def chunk_count(n_cases: int, *, cases: int, most: int) -> int:
    """How many chunks a data set is cut into: a power of two, so that a growing data set splits chunks in halves.

    Args:
        n_cases: Number of cases of the data set.
        cases: To aim at per chunk.
        most: Upper limit of the number of chunks.
    """
    count = 1
    while count * cases < n_cases and count * 2 <= most:
        count *= 2
    return count


def chunk_of(identifier: str, count: int) -> int:
    """The chunk of a case, 0 to count - 1. It depends on the identifier alone, not on which other cases there are."""
    return int.from_bytes(hashlib.sha256(identifier.encode()).digest()[:8]) % count


def read_sources(config: WorkflowConfig) -> dict[str, SourceData]:
    """List the data sets of a configuration, by the names of their folders; no image is opened.

    Raises:
        DatasetError: A dataset.json is missing or wrong, or there are no images.
        ConfigurationError: A fold is named that a data set does not have.
    """
    found = {Path(folder).name: _read(folder, config) for folder in config.dataset_folders}
    for name, source in found.items():
        if max(config.folds) >= source.n_folds:
            raise ConfigurationError(
                f"folds: there is no fold {max(config.folds)}; the folds of {name} are 0 to {source.n_folds - 1}"
            )
    return found


def _read(folder: str, config: WorkflowConfig) -> SourceData:
    files = list_files(Path(folder))
    count = chunk_count(len(files), cases=config.chunks.cases, most=config.chunks.most)
    chunks: list[list[str]] = [[] for _ in range(count)]
    for identifier, names in files.items():
        chunks[chunk_of(identifier, count)] += map(str, names)
    description, _ = read_description(Path(folder, "dataset.json"))
    own = Path(folder, "splits_final.json")
    return SourceData(
        folder=folder,
        chunks=chunks,
        cases=f"cases={len(files)}:{hashlib.sha256(json.dumps(list(files)).encode()).hexdigest()[:12]}",
        meaning=[f"{key}={json.dumps(description[key])}" for key in _MEANING if key in description],
        n_folds=len(read_folds(own)) if own.exists() else N_FOLDS,
        own_folds=[str(own)] if own.exists() else [],
    )
