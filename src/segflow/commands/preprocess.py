"""`segflow preprocess`: make cases network-ready."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from segflow.commands.console import progress_bar
from segflow.commands.options import chunk_of, configuration_of, parse_chunk
from segflow.commands.pool import map_cases
from segflow.contracts.artefacts import Manifest
from segflow.contracts.dataset import Case, Dataset
from segflow.contracts.errors import DatasetError
from segflow.contracts.plan import Configuration, Plan
from segflow.io.dataset import read_dataset
from segflow.io.files import write_text
from segflow.io.images import read_case
from segflow.io.plans import read_plan
from segflow.io.store import CaseStore
from segflow.preprocessing import prepare_case


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments. Source: ours."""
    parser.add_argument("dataset", type=Path, help="folder with dataset.json, imagesTr and labelsTr")
    parser.add_argument("--plan", type=Path, required=True, help="plans.json")
    parser.add_argument("--configuration", required=True, help="such as 3d_fullres")
    parser.add_argument("--output", type=Path, required=True, help="folder of the prepared cases")
    parser.add_argument(
        "--manifest", type=Path, required=True, help="JSON with a digest per case, written last"
    )
    parser.add_argument(
        "--chunk", type=parse_chunk, default=(0, 1), metavar="I/N", help="part I of N, from 0"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)")


def run(options: argparse.Namespace) -> None:
    """Prepare and store the cases of the chunk; what fails is named at the end, the rest is kept.

    Raises:
        DatasetError: Cases that could not be prepared.

    Source: method.md section 9.
    """
    dataset = read_dataset(options.dataset)
    plan = read_plan(options.plan)
    configuration = configuration_of(plan, options.configuration)
    cases = chunk_of(dataset.cases, options.chunk)
    prepare = partial(
        _prepare, dataset=dataset, plan=plan, configuration=configuration, store=CaseStore(options.output)
    )
    digests, faults = {}, []
    label = f"preprocess {configuration.name}"
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


def _prepare(
    case: Case, *, dataset: Dataset, plan: Plan, configuration: Configuration, store: CaseStore
) -> tuple[str, str | None]:
    """Digest of what was stored, or the fault."""
    try:
        raw = read_case(case, channels=len(dataset.channel_names))
        prepared = prepare_case(raw, plan, configuration, dataset.labels)
        if prepared.labels is None:
            return "", f"case {case.identifier}: no label file"
    except DatasetError as problem:
        return "", str(problem)
    return store.write(prepared.record, prepared.image, prepared.labels, prepared.locations), None
