"""`segflow import-nnunet`: make a model package of nnU-Net's results folders, so that segflow predicts with them."""

from __future__ import annotations

import argparse
from pathlib import Path

from segflow.commands.console import console
from segflow.nnunet.packages import import_folders


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--folders",
        type=Path,
        nargs="+",
        required=True,
        help="results folders such as nnUNetTrainer__nnUNetPlans__3d_fullres; several are averaged, and a cascade "
        "needs that of its previous stage",
    )
    parser.add_argument("--folds", type=int, nargs="+", help="folds to take over (default: all there are)")
    parser.add_argument(
        "--checkpoint", default="checkpoint_final.pth", help="name of the file (default checkpoint_final.pth)"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the model package")


def run(options: argparse.Namespace) -> None:
    """Take over weights, plan and data set description."""
    import_folders(options.folders, options.output, folds=options.folds or (), checkpoint=options.checkpoint)
    console.print(f"model package: {options.output}")
