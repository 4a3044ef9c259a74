"""The data sets of an experiment, as the workflow needs to know them before any job runs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from segflow.contracts.errors import ConfigurationError
from segflow.images.dataset import list_files, read_description
from segflow.nnunet.folds import read_folds
from segflow.planning.folds import N_FOLDS
from segflow.workflow.chunks import chunk_count, chunk_of
from segflow.workflow.config import ChunksConfig, WorkflowConfig

__all__ = ["SourceData", "read_sources"]

#: What dataset.json says about images and labels.
_MEANING = ("channel_names", "labels", "regions_class_order", "file_ending")


@dataclass(frozen=True, kw_only=True)
class SourceData:
    """A data set on disk.

    Attributes:
        folder: As the configuration names it.
        description: Its dataset.json.
        chunks: Raw files of each chunk's cases.
        cases: A word that changes when a case is added or removed.
        meaning: What dataset.json says about images and labels, one word per key. A change of anything else in that
            file (a description, a licence) re-runs nothing.
        n_folds: Number of folds of its splits_final.json, or five.
        own_folds: Its splits_final.json, if it has one.
    """

    folder: str
    description: str
    chunks: list[list[str]]
    cases: str
    meaning: list[str]
    n_folds: int
    own_folds: list[str]

    @property
    def n_chunks(self) -> int:
        """Number of chunks."""
        return len(self.chunks)


def read_sources(config: WorkflowConfig) -> dict[str, SourceData]:
    """List the data sets of a configuration, by the names of their folders; no image is opened.

    Raises:
        DatasetError: A dataset.json is missing or wrong, or there are no images.
        ConfigurationError: A fold is named that a data set does not have.
    """
    found = {Path(folder).name: _read(Path(folder), config.chunks) for folder in config.dataset_folders}
    for name, source in found.items():
        if max(config.folds) >= source.n_folds:
            raise ConfigurationError(
                f"folds: there is no fold {max(config.folds)}; the folds of {name} are 0 to {source.n_folds - 1}"
            )
    return found


def _read(folder: Path, wanted: ChunksConfig) -> SourceData:
    files = list_files(folder)
    count = chunk_count(len(files), cases=wanted.cases, most=wanted.most)
    chunks: list[list[str]] = [[] for _ in range(count)]
    for identifier, names in files.items():
        chunks[chunk_of(identifier, count)] += map(str, names)
    content, _ = read_description(folder / "dataset.json")
    own = folder / "splits_final.json"
    return SourceData(
        folder=str(folder),
        description=str(folder / "dataset.json"),
        chunks=chunks,
        cases=f"cases={len(files)}:{hashlib.sha256(json.dumps(list(files)).encode()).hexdigest()[:12]}",
        meaning=[f"{key}={json.dumps(content[key])}" for key in _MEANING if key in content],
        n_folds=len(read_folds(own)) if own.exists() else N_FOLDS,
        own_folds=[str(own)] if own.exists() else [],
    )
