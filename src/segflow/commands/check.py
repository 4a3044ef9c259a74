"""`segflow check`: is this data set sound?"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from segflow.commands.chunks import add_chunk_argument, cases_of_chunk
from segflow.commands.console import console
from segflow.commands.raw_cases import for_each_case, warn
from segflow.contracts.artefacts import CheckedCase, CheckReport
from segflow.contracts.case import Case, Dataset
from segflow.fingerprint.consistency import dataset_warnings
from segflow.fingerprint.integrity import case_warnings, check_label_values
from segflow.images.cases import read_case
from segflow.images.dataset import read_dataset, reader_warnings, stray_labels
from segflow.images.formats import digest_of_image
from segflow.storage.files import write_text

#: A sound case, and what to warn of.
_Found = tuple[CheckedCase, tuple[str, ...]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("dataset", type=Path, help="folder with dataset.json, imagesTr and labelsTr")
    parser.add_argument("--output", type=Path, help="where to write the report (check.json)")
    add_chunk_argument(parser)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)")


def run(options: argparse.Namespace) -> None:
    """Read every case; write what was found.

    Raises:
        DatasetError: Something is wrong; up to ten faults are listed.

    Source: method.md section 4.

    """
    dataset = read_dataset(options.dataset)
    cases = cases_of_chunk(dataset.cases, options.chunk)
    found = for_each_case("check", partial(_check, dataset=dataset), cases, workers=options.workers)
    checked = [case for case, _ in found.values()]
    warnings = [warning for _, of_case in found.values() for warning in of_case]
    if options.chunk[0] == 0:  # once per data set
        warnings = [*_description_warnings(dataset), *warnings]
    if options.chunk[1] == 1:  # one chunk does not know what occurs in another: `fingerprint` does
        warnings += dataset_warnings(dataset, checked)
    warn(warnings)
    if options.output is not None:
        report = CheckReport(dataset=dataset.name, cases=tuple(checked), warnings=tuple(warnings))
        write_text(options.output, report.to_json())
    console.print(f"{dataset.name}: {len(cases)} cases are sound")


def _check(case: Case, *, dataset: Dataset) -> _Found:
    raw = read_case(case, channels=len(dataset.channel_names))
    found = check_label_values(raw, case, dataset.labels)
    checked = CheckedCase(
        identifier=case.identifier,
        images={_relative(file, dataset.folder): digest_of_image(file) for file in case.images},
        label={_relative(file, dataset.folder): digest_of_image(file) for file in [case.label] if file},
        shape=raw.geometry.shape,
        spacing_mm=raw.geometry.spacing_mm,
        label_values=found,
    )
    return checked, case_warnings(raw, case, found, dataset.labels)


def _relative(file: Path, folder: Path) -> str:
    return os.path.relpath(file, folder)


def _description_warnings(dataset: Dataset) -> tuple[str, ...]:
    return (
        *(f"label file {file} has no image and is left out" for file in stray_labels(dataset)),
        *reader_warnings(dataset.folder),
        *dataset.labels.warnings,
    )
