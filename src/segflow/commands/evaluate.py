"""`segflow evaluate`: score label maps against references."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segflow.commands.arguments import CORES, Call, DatasetFile, InputFolder, ResultFile, Workers
from segflow.commands.console import console
from segflow.commands.raw_cases import for_each_noted, warn
from segflow.commands.score_table import score_table, scores_file, write_scores
from segflow.contracts.arrays import LabelMap
from segflow.contracts.case import Geometry
from segflow.contracts.codec import Contract
from segflow.contracts.errors import MAX_ERRORS_SHOWN, ConfigurationError, DatasetError, first_of
from segflow.contracts.labels import Labels
from segflow.contracts.scores import CaseScores
from segflow.contracts.spelling import nfc
from segflow.evaluation.beyond_dice import FURTHER_METRICS, Measuring, further_metrics
from segflow.evaluation.scores import score_case, summarise
from segflow.images.cases import check_label_values, compare_geometry, read_geometry, read_labels
from segflow.images.dataset import read_dataset, read_description
from segflow.images.formats import digest_of_image, has_spacing, label_ending, spacings_are_stored, spelled
from segflow.images.patients import read_patients
from segflow.metrics.overlap import target_key
from segflow.storage.files import key_of, write_text
from segflow.storage.manifests import list_label_maps
from segflow.storage.results import ResultFolder, open_journal

__all__ = ["Scoring", "evaluate", "score_candidates"]

#: Label map and reference.
_Pair = tuple[Path, Path]
#: A reference and the label maps to score against it.
_Group = tuple[Path, list[Path]]
_Metric = Literal["dice", "iou", "hd95", "assd", "nsd", "volume", "lesions"]


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How label maps are scored.

    Attributes:
        dataset: dataset.json.
        references: Folder of the true label maps; None for the data set's own.
        metrics: What to measure and show.
        tolerance_mm: Distance at which nsd counts surfaces as equal, mm.
        patients: How their patients are named (images/patients.py).
        workers: Processes.
        code: Key of the code.
    """

    dataset: Path
    references: Path | None = None
    metrics: Sequence[str] = ("dice", "iou")
    tolerance_mm: float = 2.0
    patients: str | None = None
    workers: int = CORES
    code: str = ""


class _Scored(Contract):
    """Scores of all label maps with the same reference, and warnings."""

    cases: tuple[CaseScores, ...]
    warnings: tuple[str, ...]


def evaluate(
    *,
    predictions: list[InputFolder],
    dataset: DatasetFile,
    references: InputFolder | None = None,
    output: ResultFile,
    partial: bool = False,
    metrics: tuple[_Metric, ...] = ("dice", "iou"),
    tolerance_mm: float = 2.0,
    patients: str | None = None,
    workers: Workers = CORES,
    call: Call = Call(),
) -> None:
    """Score label maps against references.

    Args:
        predictions: Folders of label maps, such as one per fold.
        dataset: The data set's folder or dataset.json.
        references: Folder of the true label maps, same names (default: the data set's labels).
        output: summary.json; summary.csv is written beside it.
        partial: Score the cases that have a prediction, though others of the references have none.
        metrics: What to measure and show; dice, iou and the counts are always written.
        tolerance_mm: Distance at which nsd counts surfaces as equal, mm.
        patients: CSV file with the columns case and patient, or a regular expression that finds the patient in a
            case's name, noted with its scores (default: the data set's patients.csv).
        workers: Processes.
        call: The call.

    Raises:
        ConfigurationError: A tolerance that is not a length, or the output is named .csv.
        PredictionError: There is no label map, or two are of the same name.
        DatasetError: A label map has no reference, or a reference no label map; a pair differs in shape or spacing, or
            holds values that dataset.json does not name. Up to ten faults are listed.

    Source: method.md section 20; nnU-Net compares neither spacings nor values with dataset.json.
    """
    if not 0 <= tolerance_mm < math.inf:
        raise ConfigurationError(f"--tolerance-mm must be 0 or more, found {tolerance_mm}")
    scores_file(output)  # refused before anything is scored
    how = Scoring(
        dataset=dataset,
        references=references,
        metrics=metrics,
        tolerance_mm=tolerance_mm,
        patients=patients,
        workers=workers,
        code=call.code,
    )
    if not call.job:
        _check_complete(predictions, how, partial=partial)
    notes = output.with_name(f"{output.stem}.unfinished")
    score_candidates({output: predictions}, notes, how, show=not call.job)


def score_candidates(
    wanted: Mapping[Path, Sequence[Path]], notes: Path, how: Scoring, *, show: bool = False
) -> None:
    """Score several candidates together, so that each reference is read once.

    Args:
        wanted: summary.json to folders of label maps.
        notes: Journal of an interrupted call.
        how: What to measure.
        show: Print a table for each.

    Raises:
        DatasetError: As in `evaluate`, except for references without a label map.

    Source: method.md section 20.
    """
    description, labels = read_description(how.dataset)
    ending = label_ending(str(description["file_ending"]))
    pairs = {
        output: [(file, _reference(file, how, ending)) for file in list_label_maps(folders, ending)]
        for output, folders in wanted.items()
    }
    tolerance = how.tolerance_mm if "nsd" in how.metrics else None
    with open_journal(notes) as journal:
        scores = _score_all([pair for some in pairs.values() for pair in some], labels, journal, how)
        for output, some in pairs.items():
            cases = _with_patients([scores[pair] for pair in some], how, ending)
            summary = summarise(cases, labels, nsd_tolerance_mm=tolerance)
            write_scores(scores_file(output), summary, labels)
            write_text(output, summary.to_json())
            if show:
                console.print(score_table(summary, labels, how.metrics))


def _with_patients(cases: list[CaseScores], how: Scoring, ending: str) -> list[CaseScores]:
    """The same, each with its patient if that is known; references of other data are of unknown patients."""
    if how.references is not None and how.patients is None:
        return cases
    names = [nfc(case.file_name.removesuffix(ending)) for case in cases]
    patients = read_patients(how.dataset.parent, how.patients, names) or {}
    return [
        case.model_copy(update={"patient": patients.get(name)})
        for case, name in zip(cases, names, strict=True)
    ]


def _score_all(
    pairs: list[_Pair], labels: Labels, journal: ResultFolder, how: Scoring
) -> dict[_Pair, CaseScores]:
    """Scores of all pairs; those that an interrupted call has noted are not computed again."""
    further = tuple(name for name in FURTHER_METRICS if name in how.metrics)
    asked = (further, how.tolerance_mm if "nsd" in further else 0.0)
    common = key_of(how.code, repr(labels), repr(asked))
    groups: dict[Path, list[Path]] = {}
    for file, reference in pairs:
        groups.setdefault(reference, []).append(file)
    items = {
        key_of(common, *(f"{file} {digest_of_image(file)}" for file in (reference, *files))): (
            reference,
            files,
        )
        for reference, files in groups.items()
    }
    work = functools.partial(_score, labels=labels, asked=asked)
    found = for_each_noted("evaluate", work, items, journal, _Scored, workers=how.workers)
    warn(list(dict.fromkeys(warning for one in found.values() for warning in one.warnings)))
    return {
        (file, reference): case
        for (reference, files), one in zip(items.values(), found.values(), strict=True)
        for file, case in zip(files, one.cases, strict=True)
    }


def _check_complete(folders: Sequence[Path], how: Scoring, *, partial: bool) -> None:
    """Refuse references without a prediction, or warn of cases of the data set: a mean over the others is too good."""
    ending = label_ending(str(read_description(how.dataset)[0]["file_ending"]))
    predicted = {nfc(file.name) for file in list_label_maps(folders, ending)}
    if how.references is None:
        wanted = {f"{name}{ending}" for name in _dataset_labels(how.dataset.parent)}
    else:
        wanted = {nfc(file.name) for file in list_label_maps([how.references], ending)}
    absent = sorted(wanted - predicted)
    if not absent or any((folder / "manifest.json").exists() for folder in folders):
        return
    said = f"{len(absent)} of {len(wanted)} cases have no prediction ({', '.join(first_of(absent, MAX_ERRORS_SHOWN))})"
    if how.references is not None and not partial:
        raise DatasetError(f"{said}; predict them, or score the others with --partial")
    warn([f"{said}; the mean is over the others"])


def _reference(file: Path, how: Scoring, ending: str) -> Path:
    if how.references is not None:
        reference = spelled(how.references / file.name)
    else:
        identifier = nfc(file.name.removesuffix(ending))
        reference = _dataset_labels(how.dataset.parent).get(identifier, Path(f"label of {identifier}"))
    if not reference.exists():
        raise DatasetError(f"{file} has no reference: {reference} does not exist")
    return reference


@functools.lru_cache(maxsize=1)
def _dataset_labels(folder: Path) -> dict[str, Path]:
    return read_dataset(folder).references


def _score(group: _Group, *, labels: Labels, asked: tuple[tuple[str, ...], float]) -> _Scored:
    file, predictions = group
    metrics, tolerance_mm = asked
    reference, geometry = _read(file, labels)
    how = Measuring(metrics, {target_key(target): tolerance_mm for target in labels.targets})
    scores: list[CaseScores] = []
    warnings: list[str] = []
    for prediction in predictions:
        found, where = _read(prediction, labels)
        if not has_spacing(file):
            geometry = geometry.model_copy(update={"spacing_mm": where.spacing_mm})
            if metrics and not spacings_are_stored(file.suffix, [where.spacing_mm]):
                warnings.append(
                    "no spacing is stored with the images: distances and volumes take voxels of 1 mm"
                )
        warnings += compare_geometry(prediction, where, file, geometry, prediction.name)
        names = {"prediction_file": str(prediction), "reference_file": str(file)}
        score = score_case(found, reference, labels, **names)
        if metrics:
            further = further_metrics(found, reference, labels, geometry.spacing_mm, how)
            entries = {key: own.model_copy(update=further[key].values) for key, own in score.metrics.items()}
            score = score.model_copy(update={"metrics": entries})
        scores.append(score)
    return _Scored(cases=tuple(scores), warnings=tuple(warnings))


def _read(file: Path, labels: Labels) -> tuple[LabelMap, Geometry]:
    found = read_labels(file, case=file.name)
    check_label_values(found, file, labels, case=file.name)
    return found, read_geometry(file, case=file.name, shape=found.shape)
