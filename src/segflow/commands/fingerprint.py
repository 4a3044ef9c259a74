"""`segflow fingerprint`: measure a data set."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from segflow.commands.raw_cases import (
    CaseDigests,
    add_case_arguments,
    case_digests,
    checked_cases,
    for_each_case,
    warn,
)
from segflow.contracts.case import Case
from segflow.fingerprint.consistency import dataset_warnings
from segflow.fingerprint.extract import (
    CaseFingerprint,
    draw_intensities,
    measure_case,
    pool_cases,
    samples_per_case,
)
from segflow.images.cases import read_case
from segflow.images.dataset import read_dataset
from segflow.storage.files import key_of, write_text
from segflow.storage.measurements import keep_or_measure
from segflow.storage.results import ResultFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_case_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, help="dataset_fingerprint.json")
    parser.add_argument(
        "--cases",
        type=Path,
        help="folder that keeps what was measured of each case, so that only new and changed cases are read again "
        "(default: fingerprint/ beside the output)",
    )


def run(options: argparse.Namespace) -> None:
    """Measure every case that has not been, pool, write; say what only all reports of the check together show.

    Raises:
        DatasetError: Cases that could not be measured; what was measured of the others is kept.

    Source: method.md section 5.

    """
    dataset = read_dataset(options.dataset)
    n_channels, n_cases = len(dataset.channel_names), len(dataset.cases)
    checked = checked_cases(options.check)
    if len(options.check) > 1:  # no chunk has seen them all
        warn(dataset_warnings(dataset, checked))
    results = ResultFolder(options.cases or options.output.parent / "fingerprint")
    describe = partial(
        _describe,
        results=results,
        common=key_of(options.code, str(n_channels)),
        digests=case_digests(dataset, checked),
        channels=n_channels,
        n_samples=samples_per_case(n_cases),
    )
    parts = for_each_case("fingerprint", describe, dataset.cases, workers=options.workers)
    results.keep_only(parts)
    write_text(options.output, pool_cases(parts.values(), n_channels).to_json())


def _describe(
    case: Case, *, results: ResultFolder, common: str, digests: CaseDigests, channels: int, n_samples: int
) -> CaseFingerprint:
    key = key_of(common, *digests.of(case))
    measured = keep_or_measure(
        results, case.identifier, key, lambda: measure_case(read_case(case, channels=channels))
    )
    return draw_intensities(measured, n_samples)
