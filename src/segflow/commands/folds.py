"""`segflow folds`: split the cases for cross-validation."""

from __future__ import annotations

from segflow.commands.arguments import DatasetFile, ResultFile
from segflow.contracts.folds import check_folds
from segflow.images.dataset import read_dataset
from segflow.nnunet.folds import read_folds, write_folds
from segflow.planning.folds import make_folds


def folds(dataset: DatasetFile, *, output: ResultFile) -> None:
    """Split the cases for cross-validation: by the data set's own splits_final.json if there is one, or in five.

    Args:
        dataset: Folder with dataset.json, imagesTr and labelsTr.
        output: splits_final.json.

    Source: method.md sections 6.9, 10.
    """
    found = read_dataset(dataset.parent)
    identifiers = [case.identifier for case in found.cases]
    if found.folds_file is None:
        split = make_folds(identifiers)
    else:
        split = read_folds(found.folds_file)
        check_folds(split, identifiers, where=str(found.folds_file))
    write_folds(output, split)
