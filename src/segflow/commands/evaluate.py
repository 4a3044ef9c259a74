"""`segflow evaluate`: score label maps against references."""

from __future__ import annotations

import argparse
import os
from functools import lru_cache, partial
from pathlib import Path

from segflow.commands.console import progress_bar
from segflow.commands.pool import map_cases
from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import CaseScores
from segflow.evaluation import score_case, summarise
from segflow.io.dataset import read_dataset, read_description
from segflow.io.files import digest_of, key_of, write_text
from segflow.io.formats import label_ending
from segflow.io.images import read_labels
from segflow.io.labelmaps import list_label_maps
from segflow.io.ledger import Ledger, ledger

#: Label map and reference.
_Pair = tuple[Path, Path]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments. Source: ours."""
    parser.add_argument("--predictions", type=Path, required=True, help="folder of label maps")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument(
        "--references",
        type=Path,
        help="folder of the true label maps, same names (default: the data set's labels)",
    )
    parser.add_argument("--output", type=Path, required=True, help="summary.json")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)")


def run(options: argparse.Namespace) -> None:
    """Score every label map of the folder of predictions.

    Raises:
        DatasetError: There is none, or one has no reference.

    Source: method.md section 20.
    """
    description, labels = read_description(options.dataset)
    ending = label_ending(str(description["file_ending"]))
    files = list_label_maps(options.predictions, ending)
    if not files:
        raise DatasetError(f"{options.predictions} holds no *{ending} file to evaluate")
    pairs = [(file, _reference(file, options, ending)) for file in files]
    with ledger(options.output.with_name(f"{options.output.stem}.unfinished.jsonl")) as finished:
        cases = _score_all(pairs, labels, finished, options)
        write_text(options.output, summarise(cases, labels).to_json())


def _score_all(
    pairs: list[_Pair], labels: Labels, finished: Ledger, options: argparse.Namespace
) -> list[CaseScores]:
    """Scores of all pairs, in order; those that an interrupted call has noted are not computed again."""
    common = key_of(options.code, repr(labels))
    keys = {pair: key_of(common, *(f"{file} {digest_of(file)}" for file in pair)) for pair in pairs}
    scores: dict[_Pair, CaseScores] = {}
    for pair in pairs:
        noted = finished.find(str(pair[0]), keys[pair])
        if noted is not None:
            scores[pair] = CaseScores.model_validate(noted)
    missing = [pair for pair in pairs if pair not in scores]
    with progress_bar("evaluate", len(pairs)) as bar:
        bar.advance(len(scores))
        found = map_cases(partial(_score, labels=labels), missing, workers=options.workers)
        for pair, case in zip(missing, found, strict=True):
            finished.note(str(pair[0]), keys[pair], case.model_dump(mode="json", by_alias=True))
            scores[pair] = case
            bar.advance()
    return [scores[pair] for pair in pairs]


def _reference(file: Path, options: argparse.Namespace, ending: str) -> Path:
    if options.references is not None:
        reference = options.references / file.name
    else:
        identifier = file.name.removesuffix(ending)
        reference = _dataset_labels(options.dataset.parent).get(identifier, Path(f"label of {identifier}"))
    if not reference.exists():
        raise DatasetError(f"{file} has no reference: {reference} does not exist")
    return reference


@lru_cache(maxsize=1)
def _dataset_labels(folder: Path) -> dict[str, Path]:
    return {case.identifier: case.label for case in read_dataset(folder).cases if case.label is not None}


def _score(pair: _Pair, *, labels: Labels) -> CaseScores:
    file, reference = pair
    return score_case(
        read_labels(file, case=file.name),
        read_labels(reference, case=file.name),
        labels,
        prediction_file=str(file),
        reference_file=str(reference),
    )
