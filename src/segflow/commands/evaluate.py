"""`segflow evaluate`: score label maps against references."""

from __future__ import annotations

import argparse
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

from segflow.commands.console import console, progress_bar
from segflow.commands.score_table import score_table, write_scores
from segflow.contracts.errors import ConfigurationError, DatasetError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import CaseScores
from segflow.images.cases import read_geometry, read_labels
from segflow.images.dataset import read_dataset, read_description
from segflow.images.formats import label_ending
from segflow.processes.pool import map_cases
from segflow.selection.evaluate import OVERLAP_METRICS, SURFACE_METRICS, Surfaces, score_case, summarise
from segflow.storage.files import digest_of, key_of, write_text
from segflow.storage.manifests import list_label_maps
from segflow.storage.results import ResultFolder, open_journal

#: Label map and reference.
_Pair = tuple[Path, Path]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--predictions",
        type=Path,
        nargs="+",
        required=True,
        help="folders of label maps, such as one per fold",
    )
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument(
        "--references",
        type=Path,
        help="folder of the true label maps, same names (default: the data set's labels)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="summary.json; summary.csv is written beside it"
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=(*OVERLAP_METRICS, *SURFACE_METRICS),
        default=OVERLAP_METRICS,
        help="what to measure and show; dice, iou and the counts are always written (default: dice iou)",
    )
    parser.add_argument("--tolerance-mm", type=float, default=1.0, help="of nsd (default 1 mm)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)")


def run(options: argparse.Namespace) -> None:
    """Score every label map of the folders of predictions.

    Raises:
        ConfigurationError: A tolerance that is not a length.
        DatasetError: There is no label map, two are of the same name, or one has no reference.

    Source: method.md section 20.
    """
    if not 0 <= options.tolerance_mm < math.inf:
        raise ConfigurationError(f"--tolerance-mm must be 0 or more, found {options.tolerance_mm}")
    notes = options.output.with_name(f"{options.output.stem}.unfinished")
    score_folders({options.output: options.predictions}, notes, options)


def score_folders(wanted: Mapping[Path, Sequence[Path]], notes: Path, options: argparse.Namespace) -> None:
    """Score several candidates in one go: each reference is read once.

    Args:
        wanted: summary.json to folders of label maps.
        notes: Journal of an interrupted call.
        options: Of the verb.

    Raises:
        DatasetError: As in `run`.

    Source: method.md section 20.
    """
    description, labels = read_description(options.dataset)
    ending = label_ending(str(description["file_ending"]))
    pairs = {
        output: [(file, _reference(file, options, ending)) for file in _label_maps(folders, ending)]
        for output, folders in wanted.items()
    }
    tolerance = options.tolerance_mm if "nsd" in options.metrics else None
    with open_journal(notes) as journal:
        scores = _score_all([pair for some in pairs.values() for pair in some], labels, journal, options)
        for output, some in pairs.items():
            summary = summarise([scores[pair] for pair in some], labels, nsd_tolerance_mm=tolerance)
            write_scores(output.with_suffix(".csv"), summary, labels)
            write_text(output, summary.to_json())
            if not options.job:
                console.print(score_table(summary, labels, options.metrics))


def _label_maps(folders: Sequence[Path], ending: str) -> list[Path]:
    files = [file for folder in folders for file in list_label_maps(folder, ending)]
    names = ", ".join(map(str, folders))
    if not files:
        raise DatasetError(f"{names} holds no *{ending} file to evaluate")
    twice = [name for name, n in Counter(file.name for file in files).items() if n > 1]
    if twice:
        raise DatasetError(f"{names} hold {twice[0]} more than once; evaluate each case once")
    return files


def _score_all(
    pairs: list[_Pair], labels: Labels, journal: ResultFolder, options: argparse.Namespace
) -> dict[_Pair, CaseScores]:
    """Scores of all pairs; those that an interrupted call has noted are not computed again."""
    surfaces = tuple(name for name in SURFACE_METRICS if name in options.metrics)
    asked = (surfaces, options.tolerance_mm if "nsd" in surfaces else 0.0)
    common = key_of(options.code, repr(labels), repr(asked))
    keys = {pair: key_of(common, *(f"{file} {digest_of(file)}" for file in pair)) for pair in pairs}
    scores: dict[_Pair, CaseScores] = {}
    for pair in pairs:
        entry = journal.find(keys[pair], keys[pair])
        if entry is not None:
            scores[pair] = CaseScores.model_validate(entry.data)
    missing: dict[Path, list[Path]] = {}
    for file, reference in pairs:
        if (file, reference) not in scores:
            missing.setdefault(reference, []).append(file)
    with progress_bar("evaluate", len(pairs)) as bar:
        bar.advance(len(scores))
        work = partial(_score, labels=labels, asked=asked)
        for (reference, files), cases in zip(
            missing.items(), map_cases(work, list(missing.items()), workers=options.workers), strict=True
        ):
            for file, case in zip(files, cases, strict=True):
                pair = (file, reference)
                journal.note(keys[pair], keys[pair], data=case.model_dump(mode="json", by_alias=True))
                scores[pair] = case
                bar.advance()
    return scores


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


def _score(
    group: tuple[Path, list[Path]], *, labels: Labels, asked: tuple[tuple[str, ...], float]
) -> list[CaseScores]:
    """Scores of all label maps with the same reference."""
    file, predictions = group
    metrics, tolerance_mm = asked
    surfaces = None
    if metrics:
        surfaces = Surfaces(metrics, tolerance_mm, read_geometry(file, case=file.name).spacing_mm)
    reference = read_labels(file, case=file.name)
    return [
        score_case(
            read_labels(prediction, case=prediction.name),
            reference,
            labels,
            prediction_file=str(prediction),
            reference_file=str(file),
            surfaces=surfaces,
        )
        for prediction in predictions
    ]
