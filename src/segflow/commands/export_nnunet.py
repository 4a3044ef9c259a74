"""`segflow export-nnunet`: write a model package as nnU-Net's results folders, so that nnU-Net predicts with it."""

from __future__ import annotations

import argparse
from pathlib import Path

from segflow.commands.console import console
from segflow.nnunet.packages import export_package


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--model", type=Path, required=True, help="model package: the folder with model.json")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder of a data set's results, as nnUNet_results/Dataset004_Hippocampus",
    )


def run(options: argparse.Namespace) -> None:
    """Write a folder for each configuration, with a checkpoint for each fold."""
    for folder in export_package(options.model, options.output):
        console.print(f"results folder: {folder}")
