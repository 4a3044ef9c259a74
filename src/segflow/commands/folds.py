"""`segflow folds`: split the cases for cross-validation."""

from __future__ import annotations

import argparse
from pathlib import Path

from segflow.images.dataset import read_dataset
from segflow.nnunet.folds import read_folds, write_folds
from segflow.planning.folds import check_folds, make_folds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "dataset", type=Path, help="folder with dataset.json; its splits_final.json is used if there"
    )
    parser.add_argument("--output", type=Path, required=True, help="splits_final.json")


def run(options: argparse.Namespace) -> None:
    """Take the data set's own folds, or make five. Source: method.md sections 6.9, 10."""
    dataset = read_dataset(options.dataset)
    identifiers = [case.identifier for case in dataset.cases]
    if dataset.folds_file is None:
        folds = make_folds(identifiers)
    else:
        folds = read_folds(dataset.folds_file)
        check_folds(folds, identifiers, where=str(dataset.folds_file))
    write_folds(options.output, folds)
