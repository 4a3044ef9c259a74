"""`segflow report`: one page about the whole experiment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pandas as pd

from segflow.commands.arguments import CORES, DatasetFile, ExperimentFolder, InputFile, ResultFile, Workers
from segflow.commands.gallery import make_gallery
from segflow.commands.outcome import Outcome, read_outcome, stage_times
from segflow.commands.raw_cases import checked_cases
from segflow.commands.recorded import plan_reasons, provenance_rows, training_devices, training_recipes
from segflow.contracts.artefacts import CheckReport
from segflow.contracts.assessment import Assessment
from segflow.contracts.case import Dataset
from segflow.contracts.codec import Contract
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.forecast import Forecast
from segflow.contracts.model import NetworkCard
from segflow.contracts.scores import Summary
from segflow.evaluation.scores import summarise
from segflow.fingerprint.consistency import dataset_warnings
from segflow.images.dataset import read_dataset
from segflow.images.formats import label_ending
from segflow.nnunet.folds import read_folds
from segflow.reporting.data import FastScores, History, ReportData
from segflow.reporting.files import report_files
from segflow.reporting.forecast import compared
from segflow.reporting.page.render import render_report
from segflow.reporting.text import cautions
from segflow.reporting.training import diagnoses
from segflow.storage.files import read_contract, write_text
from segflow.storage.folders import write_folder

C = TypeVar("C", bound=Contract)


def report(
    results: ExperimentFolder,
    *,
    dataset: DatasetFile,
    check: tuple[InputFile, ...] = (),
    overlays: int = 5,
    output: ResultFile,
    workers: Workers = CORES,
) -> None:
    """Write one page about a whole experiment, and its tables and figures into a folder of the same name beside it.

    Args:
        results: Folder of one recipe's results on one data set.
        dataset: The data set's folder or dataset.json; each of its cases is read once, for the pictures.
        check: check.json of its cases (default: those of its data set's results).
        overlays: Number of cases shown large of each group: the best, around the median, the worst.
        output: report.html; the folder is report.
        workers: Processes.

    Raises:
        ConfigurationError: The page's name has no ending, or the folder is there and is no report's.
        DatasetError: Cases cannot be read.
    """
    beside = output.with_suffix("")
    if beside == output:
        raise ConfigurationError(f"--output: {output} has no ending; name it {output}.html")
    outcome = read_outcome(results)
    source = read_dataset(dataset.parent)
    folder, card = outcome.folder, outcome.card
    networks = [read_contract(NetworkCard, file) for file in outcome.of_trainings("card.json")]
    fingerprint = read_contract(Fingerprint, folder / "model" / "dataset_fingerprint.json")
    histories = tuple(_read_history(file) for file in outcome.of_trainings("training.csv"))
    splits = outcome.of_dataset / "splits_final.json"
    qualified = cautions(
        outcome.summary,
        outcome.labels,
        networks=networks,
        planned=outcome.plan.configurations,
        folds=card.folds,
        n_folds=len(read_folds(splits)) if splits.exists() else 0,
    )
    gallery, pictures = make_gallery(
        outcome, source.cases, beside=beside.name, large=overlays, workers=workers
    )
    data = ReportData(
        card=card,
        labels=outcome.labels,
        channel_names=tuple(map(str, outcome.description["channel_names"].values())),
        file_ending=label_ending(str(outcome.description["file_ending"])),
        fingerprint=fingerprint,
        plan=outcome.plan,
        reasons=plan_reasons(outcome, fingerprint),
        trainings=training_recipes(outcome),
        devices=training_devices(outcome),
        trained={network.configuration.name: network.configuration for network in networks},
        summary=outcome.summary,
        candidate_summaries={
            candidate.name: read_contract(Summary, folder / candidate.summary)
            for candidate in card.selection.candidates
        },
        histories=histories,
        gallery=gallery,
        stages=compared(stage_times(outcome), _read_if_there(Forecast, folder / "forecast.json")),
        provenance=provenance_rows(outcome, networks),
        fast=_fast(outcome),
        assessment=_read_if_there(Assessment, folder / "assessment.json"),
        folder=beside.name,
        files=pictures,
        warnings=(
            *_warnings(check, outcome.of_dataset, source),
            *qualified,
            *_diagnoses(histories, outcome.labels.target_names),
        ),
    )
    files = report_files(data)
    write_folder(beside, files)
    write_text(output, render_report(replace(data, files=files)))


def _read_if_there(kind: type[C], file: Path) -> C | None:
    """None where the model was found by hand, or by an earlier version."""
    return read_contract(kind, file) if file.exists() else None


def _fast(outcome: Outcome) -> FastScores | None:
    """What `predict --fast` scored, beside the out-of-fold predictions of the same cases by the same networks."""
    fast = _read_if_there(Summary, outcome.folder / "fast.json")
    if fast is None:
        return None
    names = {case.file_name for case in fast.metric_per_case}
    usual = [case for case in outcome.summary.metric_per_case if case.file_name in names]
    scores = (one.foreground_mean.dice for one in (fast, summarise(usual, outcome.labels)))
    folds = outcome.card.folds
    return FastScores(folds[0], len(folds), len(names), *scores) if len(usual) == len(names) > 0 else None


def _warnings(check: Sequence[Path], of_dataset: Path, dataset: Dataset) -> tuple[str, ...]:
    """Warnings of the check of any chunk, and those of all cases together; each once."""
    files = check or sorted((of_dataset / "check").glob("chunk_*.json"))
    said = [warning for file in files for warning in read_contract(CheckReport, file).warnings]
    common = dataset_warnings(dataset, checked_cases(files))
    return tuple(dict.fromkeys((*said, *common)))


def _read_history(file: Path) -> History:
    fold = file.parts[-2].removeprefix("fold_")
    return History(file.parts[-3], int(fold) if fold.isdecimal() else "all", pd.read_csv(file))


def _diagnoses(histories: Sequence[History], names: Sequence[str]) -> tuple[str, ...]:
    """What seems wrong with the trainings; each sentence once, with those that it is about."""
    concerned = defaultdict[str, list[str]](list)
    for history in histories:
        records = [
            row | {"pseudo_dice": [row[f"pseudo_dice_{name}"] for name in names]} for row in history.rows
        ]
        for sentence in diagnoses(records, names, epochs=len(records)):
            concerned[sentence].append(f"{history.configuration} fold {history.fold}")
    return tuple(f"{', '.join(trainings)}: {sentence}." for sentence, trainings in concerned.items())
