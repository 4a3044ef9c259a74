"""`segflow fingerprint`: measure a data set."""

from __future__ import annotations

from functools import partial

from segflow.commands.arguments import CORES, Call, DatasetFile, InputFile, OutputFolder, ResultFile, Workers
from segflow.commands.raw_cases import CaseDigests, checked_cases, for_each_case, warn
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


def fingerprint(
    dataset: DatasetFile,
    *,
    output: ResultFile,
    check: tuple[InputFile, ...] = (),
    cases: OutputFolder | None = None,
    workers: Workers = CORES,
    call: Call = Call(),
) -> None:
    """Measure a data set: shapes, spacings, and intensities of the foreground.

    Args:
        dataset: Folder with dataset.json, imagesTr and labelsTr.
        output: dataset_fingerprint.json.
        check: check.json of these cases: spares reading files just to see that they are the same.
        cases: Folder that keeps what was measured of each case, so that only new and changed cases are read again
            (default: fingerprint/ beside the output).
        workers: Processes.
        call: The call.

    Raises:
        DatasetError: Cases that could not be measured; what was measured of the others is kept.

    Source: method.md section 5.
    """
    found = read_dataset(dataset.parent)
    n_channels = len(found.channel_names)
    checked = checked_cases(check)
    if len(check) > 1:  # no chunk has seen them all
        warn(dataset_warnings(found, checked))
    results = ResultFolder(cases or output.parent / "fingerprint")
    describe = partial(
        _describe,
        results=results,
        common=key_of(call.code, str(n_channels)),
        digests=CaseDigests(found.folder, checked),
        channels=n_channels,
        n_samples=samples_per_case(len(found.cases)),
    )
    parts = for_each_case("fingerprint", describe, found.cases, workers=workers)
    results.keep_only(parts)
    write_text(output, pool_cases(parts.values(), n_channels).to_json())


def _describe(
    case: Case, *, results: ResultFolder, common: str, digests: CaseDigests, channels: int, n_samples: int
) -> CaseFingerprint:
    key = key_of(common, *digests.of(case))
    measured = keep_or_measure(
        results, case.identifier, key, lambda: measure_case(read_case(case, channels=channels))
    )
    return draw_intensities(measured, n_samples)
