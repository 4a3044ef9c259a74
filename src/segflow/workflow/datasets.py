"""The data sets of an experiment, as the workflow needs to know them before any job runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segflow.contracts.assessment import EvaluationConfig
from segflow.contracts.errors import ConfigurationError, DatasetError
from segflow.contracts.folds import check_folds, held_out_twice
from segflow.contracts.labels import Labels
from segflow.contracts.plan import N_FOLDS, Fold, FoldName
from segflow.images.dataset import list_files, read_description
from segflow.images.patients import patients_file, read_patients
from segflow.nnunet.folds import read_folds
from segflow.workflow.chunks import chunk_count, chunk_of
from segflow.workflow.config import WorkflowConfig, without_braces

__all__ = ["SourceData", "read_sources"]

#: What dataset.json says about images and labels.
_MEANING = ("channel_names", "labels", "regions_class_order", "file_ending")
#: A job checks or prepares at least this many cases, and this many bytes of files.
_LEAST_CASES, _LEAST_BYTES = 16, 2**26


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
        folds: To train: the configuration's, or ["all"] if there are too few cases to hold any out.
        own_folds: Its splits_final.json, if it has one.
        holds_out_all: Whether every case of the folds is held out by one of them, as a cascade needs.
        patients: The option that says how its patients are named, if the configuration does.
        patients_file: The file that names them, if one does.
        evaluation: The configuration's, with tolerances of its own classes.
    """

    folder: str
    description: str
    chunks: list[list[str]]
    cases: str
    meaning: list[str]
    n_folds: int
    folds: list[FoldName]
    own_folds: list[str]
    holds_out_all: bool
    patients: list[str]
    patients_file: list[str]
    evaluation: EvaluationConfig

    @property
    def n_chunks(self) -> int:
        """Number of chunks."""
        return len(self.chunks)

    @property
    def is_scored(self) -> bool:
        """Whether cases are held out, whose predictions are scored."""
        return self.folds != ["all"]


def read_sources(config: WorkflowConfig) -> dict[str, SourceData]:
    """List the data sets of a configuration, by the names of their folders; no image is opened.

    Raises:
        DatasetError: A dataset.json is missing or wrong, or there are no images.
        PlanError: A splits_final.json does not fit its data set.
        ConfigurationError: A fold is named that a data set does not have, a case is held out by two of those named,
            all cases are to be trained on and a splits_final.json holds some out, or a tolerance is given for a class
            that no data set has.
    """
    sources = {Path(folder).name: _read(Path(folder), config) for folder in config.dataset_folders}
    mm = config.evaluation.nsd_tolerance_mm
    kept = [one.evaluation.nsd_tolerance_mm for one in sources.values()]
    for name in mm if isinstance(mm, dict) else ():
        if not any(isinstance(own, dict) and name in own for own in kept):
            raise ConfigurationError(f"evaluation.nsd_tolerance_mm: no data set has a class '{name}'")
    return sources


def _read(folder: Path, config: WorkflowConfig) -> SourceData:
    files = list_files(folder)
    cases = config.chunks.cases or _cases_of_a_job(files)
    count = chunk_count(len(files), cases=cases, most=config.chunks.most)
    chunks: list[list[str]] = [[] for _ in range(count)]
    for identifier, names in files.items():
        chunks[chunk_of(identifier, count)] += map(_plain, names)
    content, labels = read_description(folder / "dataset.json")
    own = folder / "splits_final.json"
    split = read_folds(own) if own.exists() else ()
    patients = read_patients(folder, config.patients, files)
    listed = patients_file(folder, config.patients)
    if own.exists():
        check_folds(split, files, where=str(own), patients=patients)
    folds = _folds(config, folder, split, owners=list(files) if patients is None else [*patients.values()])
    return SourceData(
        folder=str(folder),
        description=str(folder / "dataset.json"),
        chunks=chunks,
        cases=f"cases={len(files)}:{hashlib.sha256(json.dumps(list(files)).encode()).hexdigest()[:12]}",
        meaning=[f"{key}={json.dumps(content[key])}" for key in _MEANING if key in content],
        n_folds=len(split) or N_FOLDS,
        folds=folds,
        own_folds=[str(own)] if own.exists() else [],
        holds_out_all=folds != ["all"]
        and {c for f in split for c in f.train} <= {c for f in split for c in f.val},
        patients=[] if config.patients is None else ["--patients", config.patients],
        patients_file=[] if listed is None else [_plain(listed)],
        evaluation=_evaluation(config.evaluation, labels),
    )


def _cases_of_a_job(files: Mapping[str, Sequence[Path]]) -> int:
    """How many cases keep a job busy for longer than it takes to start."""
    size = sum(file.stat().st_size for of_case in files.values() for file in of_case if file.exists())
    return max(_LEAST_CASES, len(files) * _LEAST_BYTES // max(size, 1))


def _evaluation(wanted: EvaluationConfig, labels: Labels) -> EvaluationConfig:
    mm = wanted.nsd_tolerance_mm
    if not isinstance(mm, dict):
        return wanted
    own = {name: value for name, value in mm.items() if name in labels.target_names}
    return wanted.model_copy(update={"nsd_tolerance_mm": own})


def _plain(file: Path) -> str:
    try:
        return without_braces(str(file))
    except ValueError as problem:
        raise DatasetError(str(problem)) from None


def _folds(
    config: WorkflowConfig, folder: Path, own: Sequence[Fold], *, owners: Collection[str]
) -> list[FoldName]:
    """The folds to train; `owners` is the patient of each case, or else the case."""
    if config.folds == "all" and own:
        raise ConfigurationError(
            f"folds: all trains on every case, but {folder} has a splits_final.json that holds some out; "
            f"name some of these, which are 0 to {len(own) - 1}, or remove it"
        )
    if config.folds == "all" or not (own or len(owners) >= N_FOLDS):
        return ["all"]
    if not own and len(set(owners)) < N_FOLDS:
        raise ConfigurationError(
            f"{folder.name}: {len(owners)} cases of {len(set(owners))} patients cannot be held out in {N_FOLDS} folds; "
            "write folds into its splits_final.json, or train on all cases with folds: all"
        )
    n_folds = len(own) or N_FOLDS
    wanted = config.folds or range(n_folds)
    if max(wanted) >= n_folds:
        raise ConfigurationError(
            f"folds: there is no fold {max(wanted)}; the folds of {folder.name} are 0 to {n_folds - 1}"
        )
    twice = held_out_twice({number: own[number] for number in wanted}) if own else None
    if twice:
        raise ConfigurationError(
            f"{folder / 'splits_final.json'}: {twice}; name one of these folds, or mend the file"
        )
    return list(wanted)
