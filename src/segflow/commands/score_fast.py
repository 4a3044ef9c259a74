"""`segflow score-fast`: what `segflow predict --fast` scores on cases that its networks have never seen."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from segflow.commands.arguments import (
    CORES,
    Call,
    DatasetFile,
    Device,
    InputFile,
    ModelPackage,
    ResultFile,
    Threads,
)
from segflow.commands.raw_cases import for_each_noted
from segflow.contracts.case import Case
from segflow.contracts.errors import PredictionError
from segflow.contracts.plan import fold_of
from segflow.contracts.scores import CaseScores
from segflow.evaluation.scores import score_case, summarise
from segflow.images.cases import read_case, read_labels
from segflow.images.dataset import read_dataset
from segflow.images.formats import digest_of_image, label_ending
from segflow.nnunet.folds import read_folds
from segflow.storage.files import key_of, write_text
from segflow.storage.results import open_journal

if TYPE_CHECKING:  # this needs torch, and the command line's help does not
    from segflow.prediction.predictor import Predictor


def score_fast(
    *,
    model: ModelPackage,
    dataset: DatasetFile,
    folds: InputFile,
    output: ResultFile,
    device: Device = "auto",
    threads: Threads = CORES,
    call: Call = Call(),
) -> None:
    """Score what `segflow predict --fast` would give, on the cases that the networks it uses have never seen.

    These are those that the package's first fold holds out; where no case is, none is scored. After an interruption,
    the cases that were finished are not predicted again.

    Args:
        model: Model package.
        dataset: The data set's folder or dataset.json.
        folds: splits_final.json.
        output: JSON with the scores, in the format of summary.json.
        device: auto is a GPU if there is one.
        threads: CPU threads.
        call: The call.

    Raises:
        PredictionError: The data set lacks a case of the fold.
    """
    import torch

    from segflow.prediction.predictor import Predictor

    torch.set_num_threads(threads)
    predictor = Predictor.from_folder(model, effort="fast", device=device, threads=threads)
    cases = {
        case.identifier: (case, case.label)
        for case in read_dataset(dataset.parent).cases
        if case.label is not None
    }
    common = key_of(call.code, predictor.digest, predictor.recipe.to_json(), predictor.device)

    items = {}
    for name in fold_of(read_folds(folds), predictor.folds[0]).val:
        if name not in cases:
            raise PredictionError(f"{folds} names {name}, which is not a case of {dataset.parent}")
        case, reference = cases[name]
        items[key_of(common, name, *map(digest_of_image, (*case.images, reference)))] = (case, reference)
    with open_journal(output.with_name(f"{output.stem}.unfinished")) as journal:
        work = partial(_scores, predictor)
        scored = for_each_noted("score --fast", work, items, journal, CaseScores, workers=0)
        write_text(output, summarise([*scored.values()], predictor.labels).to_json())


def _scores(predictor: Predictor, pair: tuple[Case, Path]) -> CaseScores:
    case, reference = pair
    raw = read_case(Case(case.identifier, case.images), channels=predictor.channels)
    return score_case(
        predictor.predict_case(raw),
        read_labels(reference, case=case.identifier),
        predictor.labels,
        prediction_file=f"{case.identifier}{label_ending(predictor.ending)}",
        reference_file=str(reference),
    )
