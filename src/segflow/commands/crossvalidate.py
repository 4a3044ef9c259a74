"""`segflow crossvalidate`: merge the scores of several folds."""

from __future__ import annotations

import argparse
from pathlib import Path

from segflow.commands.score_table import write_scores
from segflow.contracts.scores import Summary
from segflow.images.dataset import read_description
from segflow.selection.evaluate import merge_folds
from segflow.storage.files import read_contract, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--summaries", type=Path, nargs="+", required=True, help="summary.json of every fold")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument(
        "--output", type=Path, required=True, help="summary.json of all folds; summary.csv beside it"
    )


def run(options: argparse.Namespace) -> None:
    """Average over all cases of all folds. Source: method.md section 22."""
    _, labels = read_description(options.dataset)
    folds = [read_contract(Summary, file) for file in options.summaries]
    summary = merge_folds(folds, labels)
    write_scores(options.output.with_suffix(".csv"), summary, labels)
    write_text(options.output, summary.to_json())
