"""`segflow import-nnunet`: make a model package of nnU-Net's results folders, so that segflow predicts with them."""

from __future__ import annotations

from segflow.commands.arguments import InputFolder, OutputFolder
from segflow.commands.console import console
from segflow.contracts.plan import FoldName


def import_nnunet(
    *,
    folders: list[InputFolder],
    folds: list[FoldName] | None = None,
    checkpoint: str = "checkpoint_final.pth",
    output: OutputFolder,
) -> None:
    """Make a model package of nnU-Net's results folders: weights, plan and data set description.

    Args:
        folders: Results folders such as nnUNetTrainer__nnUNetPlans__3d_fullres; several are averaged, and a cascade
            needs that of its previous stage.
        folds: Folds to take over (default: all that have a number, or else fold_all).
        checkpoint: Name of the file in each fold's folder.
        output: Folder of the model package.
    """
    from segflow.nnunet.packages import import_folders  # needs torch

    import_folders(folders, output, folds=folds or (), checkpoint=checkpoint)
    console.print(f"model package: {output}")
