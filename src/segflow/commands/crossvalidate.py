"""`segflow crossvalidate`: merge the scores of several folds."""

from __future__ import annotations

from segflow.commands.arguments import DatasetFile, InputFile, ResultFile
from segflow.commands.score_table import scores_file, write_scores
from segflow.contracts.scores import Summary
from segflow.evaluation.scores import merge_folds
from segflow.images.dataset import read_description
from segflow.storage.files import read_contract, write_text


def crossvalidate(*, summaries: list[InputFile], dataset: DatasetFile, output: ResultFile) -> None:
    """Merge the scores of several folds: average over all cases of all folds.

    Args:
        summaries: summary.json of every fold.
        dataset: The data set's folder or dataset.json.
        output: summary.json of all folds; summary.csv is written beside it.

    Source: method.md section 22.
    """
    _, labels = read_description(dataset)
    folds = [read_contract(Summary, file) for file in summaries]
    summary = merge_folds(folds, labels)
    write_scores(scores_file(output), summary, labels)
    write_text(output, summary.to_json())
