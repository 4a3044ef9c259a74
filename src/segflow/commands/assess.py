"""`segflow assess`: how good the chosen model is, beyond Dice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from segflow.commands.arguments import (
    CORES,
    Call,
    DatasetFile,
    InputFile,
    InputFolder,
    ResultFile,
    Settings,
    Workers,
)
from segflow.commands.raw_cases import for_each_noted
from segflow.contracts.arrays import LabelMap
from segflow.contracts.assessment import AssessedCase, Assessment, CaseMeasures, EvaluationConfig, Table
from segflow.contracts.errors import DatasetError, PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.plan import FoldName
from segflow.contracts.scores import Selection
from segflow.contracts.spelling import nfc
from segflow.evaluation.assessment import sum_up, value_names
from segflow.evaluation.beyond_dice import Measuring, decide_measures, measure_case
from segflow.images.cases import check_label_values, read_geometry, read_labels
from segflow.images.dataset import read_dataset, read_description
from segflow.images.formats import digest_of_image, has_spacing, label_ending
from segflow.images.patients import read_patients
from segflow.metrics.bootstrap import REPLICATES, SEED
from segflow.metrics.calibration import absent_counts, count_calibration
from segflow.recipes.settings import parse_settings
from segflow.storage.files import key_of, read_contract, write_text
from segflow.storage.manifests import list_label_maps
from segflow.storage.probabilities import probability_slabs, read_placement
from segflow.storage.results import open_journal

_NO_PROBABILITIES = (
    "Calibration is not measured: probabilities are kept only where pairs of configurations are formed."
)


@dataclass(frozen=True)
class _Files:
    """The files of one case."""

    case: str
    fold: str
    image: Path
    final: Path
    reference: Path
    configurations: dict[str, Path]
    probabilities: tuple[Path, ...]

    @property
    def measured(self) -> tuple[Path, ...]:
        return (self.final, self.reference, *self.configurations.values(), *self.probabilities)


def assess(
    *,
    selection: InputFile,
    predictions: InputFolder,
    folds: list[FoldName],
    final: InputFolder,
    dataset: DatasetFile,
    probabilities: bool = False,
    values: Settings = Settings(),
    patients: str | None = None,
    output: ResultFile,
    workers: Workers = CORES,
    call: Call = Call(),
) -> None:
    """Measure the chosen model's out-of-fold label maps, and those of each configuration, in further ways.

    Nothing is chosen by the result. After an interruption, the cases that were finished are not measured again.

    Args:
        selection: selection.json.
        predictions: Folder with CONFIGURATION/fold_K.
        folds: Folds that were trained.
        final: Folder of the chosen model's label maps, after post-processing.
        dataset: The data set's folder or dataset.json.
        probabilities: Those of the chosen model's configurations were kept.
        values: Section "evaluation".
        patients: As of `evaluate`.
        output: assessment.json.
        workers: Processes.
        call: The call.

    Raises:
        ConfigurationError: A tolerance is given for a class that does not exist.
        DatasetError: A label map does not fit its reference.
        PredictionError: A case has no label map or no reference, or a file of probabilities is damaged.
    """
    labels = read_description(dataset)[1]
    wanted = parse_settings(EvaluationConfig, "evaluation", values.settings)
    chosen = read_contract(Selection, selection)
    files = _list_cases(chosen, predictions, folds, final, dataset)
    has_probabilities = probabilities and all(file.exists() for one in files for file in one.probabilities)
    if not has_probabilities or not (wanted.metrics == "auto" or "calibration" in wanted.metrics):
        files = [replace(one, probabilities=()) for one in files]
    call.reads(*(file for one in files for file in (one.final, *one.configurations.values())))

    grids = [
        (where.shape, where.spacing_mm)
        for where in (read_geometry(one.final, case=one.case) for one in files)
    ]
    physical = all(has_spacing(one.image) for one in files)  # label maps of stacks always have a side file
    how = decide_measures(wanted, labels, grids, has_spacing=physical)
    unstored = (
        (_NO_PROBABILITIES,) if "calibration" in how.measures and files and not has_probabilities else ()
    )
    owners = read_patients(dataset.parent, patients, [one.case for one in files])
    with open_journal(output.with_name(f"{output.stem}.unfinished")) as journal:
        common = key_of(call.code, repr(labels), repr(how))
        items = {
            key_of(common, *(f"{file} {digest_of_image(file)}" for file in one.measured)): one
            for one in files
        }
        work = partial(_measure, labels=labels, how=how)
        found = for_each_noted("assess", work, items, journal, CaseMeasures, workers=workers)
        measures = [*found.values()]
        tables = np.array([one.confusion for one in measures], dtype=np.int64)
        confusion = tuple(tuple(row) for row in tables.sum(axis=0).tolist()) if measures else ()
        made = Assessment(
            model=chosen.best.name,
            measures=how.measures,
            notes=(*how.notes, *unstored),
            replicates=REPLICATES,
            seed=SEED,
            classes=sum_up(
                measures,
                [one.fold for one in files],
                labels,
                how,
                None if owners is None else [*owners.values()],
            ),
            cases=tuple(
                AssessedCase(case=one.case, fold=one.fold, values=own.values)
                for one, own in zip(files, measures, strict=True)
            ),
            values=value_names(labels),
            confusion=confusion if "confusion" in how.measures else (),
        )
        write_text(output, made.to_json())


def _list_cases(
    chosen: Selection, predictions: Path, folds: Sequence[FoldName], final: Path, dataset: Path
) -> list[_Files]:
    """The files of every case that is held out."""
    ending = label_ending(str(read_description(dataset)[0]["file_ending"]))
    cases = {case.identifier: case for case in read_dataset(dataset.parent).cases}
    last = {file.name: file for file in list_label_maps([final], ending)}
    single = [one.name for one in chosen.candidates if len(one.configurations) == 1]
    found = []
    for fold in folds:
        for file in list_label_maps([predictions / chosen.best.name / f"fold_{fold}"], ending):
            case = nfc(file.name.removesuffix(ending))
            reference = cases[case].label if case in cases else None
            maps = {name: predictions / name / f"fold_{fold}" / file.name for name in single}
            needed = (last.get(file.name), reference, *maps.values())
            if reference is None or not all(path and path.exists() for path in needed):
                raise PredictionError(
                    f"case {case} lacks a label map or its reference; run the workflow again"
                )
            stored = [
                predictions / name / f"fold_{fold}" / "probabilities" for name in chosen.best.configurations
            ]
            npz = tuple(folder / f"{file.name.removesuffix(ending)}.npz" for folder in stored)
            image = cases[case].images[0]
            found.append(_Files(case, str(fold), image, last[file.name], reference, maps, npz))
    return sorted(found, key=lambda one: one.case)


def _measure(files: _Files, *, labels: Labels, how: Measuring) -> CaseMeasures:
    reference = _read(files.reference, files.case, labels)
    final = _read(files.final, files.case, labels)
    if final.shape != reference.shape:
        raise DatasetError(
            f"{files.final} has shape {final.shape}, but its reference {files.reference} has {reference.shape}"
        )
    maps = {name: _read(file, files.case, labels) for name, file in files.configurations.items()}
    spacing = read_geometry(files.final, case=files.case).spacing_mm
    found = measure_case(final, maps, reference, labels, spacing, how)
    if not files.probabilities:
        return found
    return found.model_copy(update={"calibration": _calibration(files.probabilities, reference, labels)})


def _calibration(stored: Sequence[Path], reference: LabelMap, labels: Labels) -> Table:
    """The table of `count_calibration` over the whole image: beyond the crop, nothing has a probability."""
    box, shape, transpose = read_placement(stored[0])
    turned = reference.transpose(np.argsort(transpose))
    if turned.shape != shape:
        raise PredictionError(
            f"{stored[0]} is of an image of another shape; predict again with probabilities"
        )
    inside = turned[tuple(slice(*part) for part in box)]
    table, start = absent_counts(turned, labels) - absent_counts(inside, labels), 0
    for slabs in zip(*(probability_slabs(file) for file in stored), strict=True):
        mean = np.mean(slabs, axis=0)
        end = start + mean.shape[1]
        table += count_calibration(mean, inside[start:end], labels)
        start = end
    return tuple(tuple((n, p, own) for n, p, own in rows) for rows in table.tolist())


def _read(file: Path, case: str, labels: Labels) -> LabelMap:
    found = read_labels(file, case=case)
    check_label_values(found, file, labels, case=case)
    return found
