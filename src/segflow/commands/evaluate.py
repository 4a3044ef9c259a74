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
from segflow.io.files import write_text
from segflow.io.images import read_labels
from segflow.io.labelmaps import list_label_maps


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
    ending = str(description["file_ending"])
    files = list_label_maps(options.predictions, ending)
    if not files:
        raise DatasetError(f"{options.predictions} holds no *{ending} file to evaluate")
    pairs = [(file, _reference(file, options, ending)) for file in files]
    cases = []
    with progress_bar("evaluate", len(files)) as bar:
        for case in map_cases(partial(_score, labels=labels), pairs, workers=options.workers):
            cases.append(case)
            bar.advance()
    write_text(options.output, summarise(cases, labels).to_json())


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


def _score(pair: tuple[Path, Path], *, labels: Labels) -> CaseScores:
    file, reference = pair
    return score_case(
        read_labels(file, case=file.name),
        read_labels(reference, case=file.name),
        labels,
        prediction_file=str(file),
        reference_file=str(reference),
    )
