"""`segflow preprocess`: make cases network-ready."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from segflow.commands.chunks import add_chunk_argument, cases_of_chunk
from segflow.commands.console import progress_bar
from segflow.commands.pool import map_cases
from segflow.contracts.artefacts import CheckReport, Manifest
from segflow.contracts.dataset import Case, Dataset
from segflow.contracts.errors import DatasetError
from segflow.contracts.plan import Preparation
from segflow.io.dataset import read_dataset
from segflow.io.files import digest_of, key_of, read_contract, write_text
from segflow.io.images import read_case
from segflow.io.plans import read_preparation
from segflow.io.store import CaseStore
from segflow.preprocessing import prepare_case


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments. Source: ours."""
    parser.add_argument("dataset", type=Path, help="folder with dataset.json, imagesTr and labelsTr")
    parser.add_argument(
        "--preparation", type=Path, required=True, help="plan's preparation/CONFIGURATION.json"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the prepared cases")
    parser.add_argument(
        "--manifest", type=Path, required=True, help="JSON with a digest per case, written last"
    )
    parser.add_argument("--check", type=Path, help="the chunk's check.json: spares reading the files twice")
    add_chunk_argument(parser)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)")


def run(options: argparse.Namespace) -> None:
    """Prepare and store the cases of the chunk; what fails is named at the end, the rest is kept.

    A case that is stored already, made from the same files in the same way, is not made again.

    Raises:
        DatasetError: Cases that could not be prepared.

    Source: method.md section 9.
    """
    dataset = read_dataset(options.dataset)
    preparation = read_preparation(options.preparation)
    cases = cases_of_chunk(dataset.cases, options.chunk)
    common = key_of(options.code, preparation.to_json(), repr(dataset.labels), str(dataset.channel_names))
    prepare = partial(
        _prepare,
        dataset=dataset,
        preparation=preparation,
        store=CaseStore(options.output),
        common=common,
        checked=_digests(options.check),
    )
    digests, faults = {}, []
    label = f"preprocess {options.preparation.stem}"
    with progress_bar(label, len(cases)) as bar:
        prepared = map_cases(prepare, cases, workers=options.workers)
        for case, (digest, fault) in zip(cases, prepared, strict=True):
            if fault is None:
                digests[case.identifier] = digest
            else:
                faults.append(fault)
            bar.advance()
    if faults:
        raise DatasetError("\n".join(faults))
    write_text(options.manifest, Manifest(cases=digests).to_json())


def _digests(check: Path | None) -> dict[str, str]:
    """File name to SHA-256, as far as the files have been checked."""
    if check is None:
        return {}
    cases = read_contract(CheckReport, check).cases
    return {name: digest for case in cases for name, digest in (case.images | case.label).items()}


def _prepare(
    case: Case,
    *,
    dataset: Dataset,
    preparation: Preparation,
    store: CaseStore,
    common: str,
    checked: dict[str, str],
) -> tuple[str, str | None]:
    """Digest of what was stored, or the fault."""
    if case.label is None:
        return "", f"case {case.identifier}: no label file"
    names = [os.path.relpath(file, dataset.folder) for file in (*case.images, case.label)]
    key = key_of(common, *(checked.get(name) or digest_of(dataset.folder / name) for name in names))
    stored = store.find(case.identifier, key)
    if stored is not None:
        return stored, None
    try:
        raw = read_case(case, channels=len(dataset.channel_names))
        prepared = prepare_case(raw, preparation, dataset.labels)
    except DatasetError as problem:
        return "", str(problem)
    if prepared.labels is None:
        return "", f"case {case.identifier}: no label file"
    return (
        store.write(prepared.record, prepared.image, prepared.labels, prepared.locations, key=key),
        None,
    )
