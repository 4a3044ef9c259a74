"""`segflow preprocess`: make cases network-ready."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from segflow.commands.chunks import add_chunk_argument, cases_of_chunk
from segflow.commands.options import configuration_of
from segflow.commands.raw_cases import CaseKeys, add_case_arguments, case_keys, for_each_case
from segflow.contracts.artefacts import Manifest
from segflow.contracts.dataset import Case, Dataset
from segflow.contracts.errors import ConfigurationError, DatasetError
from segflow.contracts.plan import Preparation
from segflow.io.dataset import read_dataset
from segflow.io.files import write_text
from segflow.io.images import read_case
from segflow.io.plans import read_plan, read_preparation
from segflow.io.store import CaseStore
from segflow.preprocessing import prepare_case


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments. Source: ours."""
    add_case_arguments(parser)
    parser.add_argument("--plan", type=Path, help="plans.json; or --preparation")
    parser.add_argument("--configuration", help="of the plan, such as 3d_fullres")
    parser.add_argument("--preparation", type=Path, help="the workflow's preparation/CONFIGURATION.json")
    parser.add_argument("--output", type=Path, required=True, help="folder of the prepared cases")
    parser.add_argument(
        "--manifest",
        type=Path,
        help="JSON with a digest per case, written last (default: manifest/chunk_0.json in the output)",
    )
    add_chunk_argument(parser)


def run(options: argparse.Namespace) -> None:
    """Prepare and store the cases of the chunk; what fails is named at the end, the rest is kept.

    A case that is stored already, made from the same files in the same way, is not made again.

    Raises:
        DatasetError: Cases that could not be prepared.

    Source: method.md section 9.
    """
    dataset = read_dataset(options.dataset)
    preparation = _preparation(options)
    prepare = partial(
        _prepare,
        dataset=dataset,
        preparation=preparation,
        store=CaseStore(options.output),
        keys=case_keys(dataset, options, preparation.to_json(), repr(dataset.labels)),
    )
    cases = cases_of_chunk(dataset.cases, options.chunk)
    title = f"preprocess {options.configuration or options.preparation.stem}"
    digests = for_each_case(title, prepare, cases, workers=options.workers)
    manifest = options.manifest or options.output / "manifest" / "chunk_0.json"
    write_text(manifest, Manifest(cases=digests).to_json())


def _preparation(options: argparse.Namespace) -> Preparation:
    if options.preparation is not None:
        return read_preparation(options.preparation)
    if options.plan is None or options.configuration is None:
        raise ConfigurationError("preprocess needs --plan and --configuration, or --preparation")
    plan = read_plan(options.plan)
    return plan.preparation(configuration_of(plan, options.configuration).name)


def _prepare(
    case: Case, *, dataset: Dataset, preparation: Preparation, store: CaseStore, keys: CaseKeys
) -> str:
    """Digest of what was stored."""
    key = keys.of(case)
    stored = store.find(case.identifier, key)
    if stored is not None:
        return stored
    raw = read_case(case, channels=len(dataset.channel_names))
    prepared = prepare_case(raw, preparation, dataset.labels)
    if prepared.labels is None:
        raise DatasetError(f"case {case.identifier}: no label file, so nothing to train on")
    return store.write(prepared.record, prepared.image, prepared.labels, prepared.locations, key=key)
