"""`segflow preprocess`: make cases network-ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from segflow.commands.arguments import (
    CORES,
    Call,
    Chunk,
    DatasetFile,
    InputFile,
    OutputFolder,
    ResultFile,
    Workers,
)
from segflow.commands.console import console
from segflow.commands.raw_cases import (
    CaseDigests,
    cases_of_chunk,
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


@dataclass(frozen=True)
class _Target:
    """One way of preparing the cases, and where they go.

    Attributes:
        common: Key of all that is the same for every case.
    """

    preparation: Preparation
    store: CaseStore
    common: str
    manifest: Path


def preprocess(
    dataset: DatasetFile,
    *,
    plan: InputFile | None = None,
    configuration: list[str] | None = None,
    preparation: InputFile | None = None,
    output: OutputFolder,
    manifest: ResultFile | None = None,
    check: tuple[InputFile, ...] = (),
    chunk: Chunk = (0, 1),
    workers: Workers = CORES,
    call: Call = Call(),
) -> None:
    """Make cases network-ready.

    A case that is stored already, made from the same files in the same way, is not made again. A raw case is read once
    for all configurations.

    Args:
        dataset: Folder with dataset.json, imagesTr and labelsTr.
        plan: plans.json; or --preparation.
        configuration: Of the plan, such as 3d_fullres (default: all).
        preparation: The workflow's preparation/CONFIGURATION.json.
        output: Folder of the prepared cases; with --plan they go to OUTPUT/CONFIGURATION.
        manifest: With --preparation: JSON with a digest per case, written last (default: manifest/chunk_0.json beside
            the cases).
        check: check.json of these cases: spares reading files just to see that they are the same.
        chunk: Chunk I of N, from 0 (default: all cases).
        workers: Processes.
        call: The call.

    Raises:
        ConfigurationError: Not just one of --plan and --preparation.
        DatasetError: Cases that could not be prepared; the others are kept.

    Source: method.md section 9.
    """
    source = read_dataset(dataset.parent)
    if preparation is not None and plan is None:
        ways = {preparation.stem: (read_preparation(preparation), output)}
    elif plan is not None and preparation is None and manifest is None:
        ways = _ways_of(plan, configuration, output)
    else:
        raise ConfigurationError(
            "preprocess needs --plan (and maybe --configuration), or --preparation (and maybe --manifest)"
        )
    channels, labels = str(source.channel_names), repr(source.labels)
    targets = [
        _Target(
            preparation=way,
            store=CaseStore(folder),
            common=key_of(call.code, channels, way.to_json(), labels),
            manifest=manifest or folder / "manifest" / "chunk_0.json",
        )
        for way, folder in ways.values()
    ]
    prepare = partial(
        _prepare, dataset=source, targets=targets, digests=CaseDigests(source.folder, checked_cases(check))
    )
    cases = cases_of_chunk(source.cases, chunk)
    prepared = for_each_case(f"preprocess {', '.join(ways)}", prepare, cases, workers=workers)
    for number, target in enumerate(targets):
        found = {name: of_case[number] for name, of_case in prepared.items()}
        write_text(target.manifest, Manifest(cases=found).to_json())


def _ways_of(
    file: Path, configurations: Sequence[str] | None, output: Path
) -> dict[str, tuple[Preparation, Path]]:
    """How a plan's configurations are prepared, and where the cases go; those that are prepared alike go once."""
    plan = read_plan(file)
    found: dict[str, tuple[Preparation, Path]] = {}
    for name in configurations or plan.configurations:
        preparation = plan.preparation(name)
        alike = next((other for other, (same, _) in found.items() if same == preparation), None)
        if alike is None:
            found[name] = preparation, output / name
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
