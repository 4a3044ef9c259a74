"""`segflow check`: is this data set sound?"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from segflow.commands.chunks import add_chunk_argument, cases_of_chunk
from segflow.commands.console import console, logger, progress_bar
from segflow.commands.pool import map_cases
from segflow.contracts.artefacts import CheckedCase, CheckReport
from segflow.contracts.dataset import Case, Dataset
from segflow.contracts.errors import DatasetError
from segflow.fingerprint import check_label_values
from segflow.io.dataset import read_dataset, stray_labels
from segflow.io.files import digest_of, write_text
from segflow.io.images import read_case

MAX_ERRORS_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments. Source: ours."""
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
    checked: list[CheckedCase] = []
    faults: list[str] = []
    with progress_bar("check", len(cases)) as bar:
        for outcome in map_cases(partial(_check, dataset), cases, workers=options.workers):
            if isinstance(outcome, CheckedCase):
                checked.append(outcome)
            else:
                faults.append(outcome)
            bar.advance()
    if faults:
        hidden = len(faults) - MAX_ERRORS_SHOWN
        more = [f"... and {hidden} more"] if hidden > 0 else []
        raise DatasetError("\n".join([*faults[:MAX_ERRORS_SHOWN], *more]))
    warnings = _warnings(dataset) if options.chunk[0] == 0 else ()  # once per data set
    for warning in warnings:
        logger.warning("%s", warning)
    if options.output is not None:
        report = CheckReport(dataset=dataset.name, cases=tuple(checked), warnings=warnings)
        write_text(options.output, report.to_json())
    console.print(f"{dataset.name}: {len(cases)} cases are sound")


def _check(dataset: Dataset, case: Case) -> CheckedCase | str:
    try:
        raw = read_case(case, channels=len(dataset.channel_names))
        check_label_values(raw, case, dataset.labels)
    except DatasetError as problem:
        return str(problem)
    return CheckedCase(
        identifier=case.identifier,
        images={_relative(file, dataset.folder): digest_of(file) for file in case.images},
        label={_relative(file, dataset.folder): digest_of(file) for file in [case.label] if file},
        shape=raw.geometry.shape,
        spacing_mm=raw.geometry.spacing_mm,
    )


def _relative(file: Path, folder: Path) -> str:
    return os.path.relpath(file, folder)


def _warnings(dataset: Dataset) -> tuple[str, ...]:
    return tuple(f"label file {file} has no image and is left out" for file in stray_labels(dataset))
