"""`segflow check`: is this data set sound?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from segflow.commands.arguments import CORES, Chunk, DatasetFile, ResultFile, Workers
from segflow.commands.console import console
from segflow.commands.raw_cases import cases_of_chunk, for_each_case, warn
from segflow.contracts.artefacts import CheckedCase, CheckReport
from segflow.contracts.case import Case, Dataset
from segflow.contracts.errors import DatasetError
from segflow.contracts.folds import check_folds, held_out_twice
from segflow.fingerprint.consistency import dataset_warnings
from segflow.fingerprint.integrity import case_warnings
from segflow.images.cases import check_label_values, read_case
from segflow.images.dataset import read_dataset, stray_labels
from segflow.images.formats import digest_of_image
from segflow.nnunet.folds import read_folds
from segflow.storage.files import write_text


def check(
    dataset: DatasetFile, *, output: ResultFile | None = None, chunk: Chunk = (0, 1), workers: Workers = CORES
) -> None:
    """Check a data set: files, geometry, label values.

    Args:
        dataset: Folder with dataset.json, imagesTr and labelsTr.
        output: Where to write the report (check.json).
        chunk: Chunk I of N, from 0 (default: all cases).
        workers: Processes.

    Raises:
        DatasetError: Something is wrong; up to ten faults are listed.

    Source: method.md section 4.
    """
    found = read_dataset(dataset.parent)
    split_warnings = _check_split(found)
    cases = cases_of_chunk(found.cases, chunk)
    sound = for_each_case("check", partial(_check, dataset=found), cases, workers=workers)
    checked = [case for case, _ in sound.values()]
    warnings = [warning for _, of_case in sound.values() for warning in of_case]
    if chunk[0] == 0:  # once per data set
        strays = [f"label file {file} has no image and is left out" for file in stray_labels(found)]
        warnings = [*strays, *found.labels.warnings, *warnings]
    of_all = [*split_warnings] if chunk[0] == 0 else []  # not stored: they depend on splits_final.json
    if chunk[1] == 1:  # one chunk does not know what occurs in another: `fingerprint` does
        of_all += dataset_warnings(found, checked)
        if not any(set(case.label_values) & set(found.labels.foreground_values) for case in checked):
            raise DatasetError("no case has any foreground voxel; check the label files")
    warn([*warnings, *of_all])
    if output is not None:
        report = CheckReport(
            dataset=found.name, cases=tuple(checked), warnings=tuple(_without_folders(warnings, found))
        )
        write_text(output, report.to_json())
    console.print(f"{found.name}: {len(cases)} cases are sound")


def _without_folders(warnings: Sequence[str], dataset: Dataset) -> list[str]:
    """The same wherever the files are."""
    files = (file for case in dataset.cases for file in (*case.images, case.label) if file)
    for folder in [dataset.folder, *sorted({file.parent for file in files}, reverse=True)]:
        warnings = [warning.replace(f"{folder}/", "") for warning in warnings]
    return [*warnings]


def _check_split(dataset: Dataset) -> list[str]:
    """Refuse folds that do not fit; which of them are trained, and may then hold no case out twice, is not known."""
    if dataset.folds_file is None:
        return []
    folds = read_folds(dataset.folds_file)
    check_folds(folds, [case.identifier for case in dataset.cases], where=str(dataset.folds_file))
    twice = held_out_twice(dict(enumerate(folds)))
    return [f"{dataset.folds_file}: {twice}: not all of these folds can be trained together"] if twice else []


def _check(case: Case, *, dataset: Dataset) -> tuple[CheckedCase, tuple[str, ...]]:
    """A sound case, and its warnings."""
    raw = read_case(case, channels=len(dataset.channel_names))
    found: tuple[int, ...] = ()
    if raw.labels is not None and case.label is not None:
        found = check_label_values(raw.labels, case.label, dataset.labels, case=case.identifier)
    checked = CheckedCase(
        identifier=case.identifier,
        images={os.path.relpath(file, dataset.folder): digest_of_image(file) for file in case.images},
        label={os.path.relpath(file, dataset.folder): digest_of_image(file) for file in [case.label] if file},
        shape=raw.geometry.shape,
        spacing_mm=raw.geometry.spacing_mm,
        label_values=found,
    )
    return checked, case_warnings(raw, case, found, dataset.labels)
