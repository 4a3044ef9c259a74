"""`segflow export`: a model package in a form that other programs use."""

from __future__ import annotations

from typing import Literal

from segflow.commands.arguments import ModelPackage, OutputPath
from segflow.commands.console import console


def export(
    form: Literal["nnunet", "zip"],
    model: ModelPackage,
    *,
    output: OutputPath,
) -> None:
    """Write a model package in a form that other programs use.

    Args:
        form: nnunet (its results folders, one per configuration, with a checkpoint per fold) or zip (the same in one
            file with all of the package, which segflow import-model and nnU-Net's own command install).
        model: Model package: its folder, its model.json or the experiment's folder.
        output: Of nnunet the folder of a data set's results, as nnUNet_results/Dataset004_Hippocampus; of zip the file.
    """
    from segflow.nnunet.exported import export_package, export_zip  # needs torch

    if form == "nnunet":
        made = export_package(model, output)
    else:
        export_zip(model, output)
        made = (output,)
    for path in made:
        console.print(f"{form}: {path}")
