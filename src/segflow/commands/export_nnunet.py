"""`segflow export-nnunet`: write a model package as nnU-Net's results folders, so that nnU-Net predicts with it."""

from __future__ import annotations

from segflow.commands.arguments import ModelPackage, OutputFolder
from segflow.commands.console import console


def export_nnunet(*, model: ModelPackage, output: OutputFolder) -> None:
    """Write a model package as nnU-Net's results folders: one per configuration, with a checkpoint per fold.

    Args:
        model: Model package: its folder, its model.json or the experiment's folder.
        output: Folder of a data set's results, as nnUNet_results/Dataset004_Hippocampus.
    """
    from segflow.nnunet.packages import export_package  # needs torch

    for folder in export_package(model, output):
        console.print(f"results folder: {folder}")
