"""`segflow preprocess`: make cases network-ready."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from segflow.commands.chunks import add_chunk_argument, cases_of_chunk
from segflow.commands.console import console
from segflow.commands.raw_cases import (
    CaseDigests,
    add_case_arguments,
    case_digests,
    checked_cases,
    for_each_case,
)
from segflow.contracts.artefacts import Manifest
from segflow.contracts.case import Case, Dataset
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.plan import Preparation
from segflow.images.cases import read_case
from segflow.images.dataset import read_dataset
from segflow.nnunet.parts import read_preparation
from segflow.nnunet.plans import read_plan
from segflow.preprocessing.prepare import prepare_case
from segflow.storage.cases import CaseStore
from segflow.storage.files import key_of, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_case_arguments(parser)
    parser.add_argument("--plan", type=Path, help="plans.json; or --preparation")
    parser.add_argument(
        "--configuration", nargs="+", metavar="NAME", help="of the plan, such as 3d_fullres (default: all)"
    )
    parser.add_argument("--preparation", type=Path, help="the workflow's preparation/CONFIGURATION.json")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder of the prepared cases; with --plan they go to OUTPUT/CONFIGURATION",
    )
    parser.add_argument(
        "--manifest",
        type=Path,
        help="with --preparation: JSON with a digest per case, written last "
        "(default: manifest/chunk_0.json beside the cases)",
    )
    add_chunk_argument(parser)


@dataclass(frozen=True)
class _Target:
    """One way of preparing the cases, and where they go.

    Attributes:
        common: Key of all that is the same for every case.
    """

    name: str
    preparation: Preparation
    store: CaseStore
    common: str
    manifest: Path


def run(options: argparse.Namespace) -> None:
    """Prepare and store the cases of the chunk; what fails is named at the end, the rest is kept.

    A case that is stored already, made from the same files in the same way, is not made again. A raw case is read once
    for all configurations.

    Raises:
        DatasetError: Cases that could not be prepared.

    Source: method.md section 9.
    """
    dataset = read_dataset(options.dataset)
    targets = _targets(options, dataset)
    cases = cases_of_chunk(dataset.cases, options.chunk)
    digests = case_digests(dataset, checked_cases(options.check))
    prepare = partial(_prepare, dataset=dataset, targets=targets, digests=digests)
    title = f"preprocess {', '.join(target.name for target in targets)}"
    prepared = for_each_case(title, prepare, cases, workers=options.workers)
    for number, target in enumerate(targets):
        found = {name: of_case[number] for name, of_case in prepared.items()}
        write_text(target.manifest, Manifest(cases=found).to_json())


def _targets(options: argparse.Namespace, dataset: Dataset) -> list[_Target]:
    """What the options ask for; configurations that are prepared alike are prepared once."""
    if options.preparation is not None:
        found = {options.preparation.stem: read_preparation(options.preparation)}
        folders = [options.output]
    else:
        found = _preparations(options)
        folders = [options.output / name for name in found]
    channels, labels = str(dataset.channel_names), repr(dataset.labels)
    return [
        _Target(
            name,
            preparation,
            CaseStore(folder),
            key_of(options.code, channels, preparation.to_json(), labels),
            options.manifest or folder / "manifest" / "chunk_0.json",
        )
        for (name, preparation), folder in zip(found.items(), folders, strict=True)
    ]


def _preparations(options: argparse.Namespace) -> dict[str, Preparation]:
    if options.plan is None or options.manifest is not None:
        raise ConfigurationError(
            "preprocess needs --plan (and maybe --configuration), or --preparation (and maybe --manifest)"
        )
    plan = read_plan(options.plan)
    found: dict[str, Preparation] = {}
    for name in options.configuration or plan.configurations:
        preparation = plan.preparation(name)
        alike = next((other for other, same in found.items() if same == preparation), None)
        if alike is None:
            found[name] = preparation
        else:
            console.print(f"{name} is prepared as {alike} is, and reads its cases")
    return found


def _prepare(
    case: Case, *, dataset: Dataset, targets: Sequence[_Target], digests: CaseDigests
) -> tuple[str, ...]:
    """Digest of what was stored, per target."""
    of_files = digests.of(case)
    keys = [key_of(target.common, *of_files) for target in targets]
    stored = [target.store.find(case.identifier, key) for target, key in zip(targets, keys, strict=True)]
    if None not in stored:
        return tuple(digest for digest in stored if digest is not None)
    raw = read_case(case, channels=len(dataset.channel_names))
    made = []
    for target, key, digest in zip(targets, keys, stored, strict=True):
        if digest is not None:
            made.append(digest)
            continue
        made.append(target.store.write(prepare_case(raw, target.preparation, dataset.labels), key=key))
    return tuple(made)
