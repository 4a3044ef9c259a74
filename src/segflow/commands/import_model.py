"""`segflow import-model`: a model package of a zip, or of nnU-Net's results, so that segflow predicts with it."""

from __future__ import annotations

from segflow.commands.arguments import InputFile, InputPath, OutputFolder
from segflow.commands.console import console
from segflow.contracts.plan import FoldName


def import_model(
    sources: list[InputPath],
    *,
    output: OutputFolder,
    configurations: list[str] | None = None,
    folds: list[FoldName] | None = None,
    checkpoint: str = "checkpoint_final.pth",
    postprocessing: InputFile | None = None,
) -> None:
    """Make a model package of what segflow export zip has written, or of nnU-Net's results.

    Args:
        sources: A zip or a folder of segflow; or zips or folders of nnU-Net's: of a data set's results, or of
            configurations such as nnUNetTrainer__nnUNetPlans__3d_fullres. Several are averaged, and a cascade needs
            that of its previous stage.
        output: Folder of the model package.
        configurations: Of nnU-Net's results, if they hold several (default: nnU-Net's choice if it is noted, or all).
        folds: Of nnU-Net's results (default: all that have a number, or else fold_all).
        checkpoint: Of nnU-Net's results, the name of the file in each fold's folder.
        postprocessing: nnU-Net's postprocessing.json (default: the one that lies with the results).
    """
    from segflow.nnunet.imported import Wanted  # needs torch
    from segflow.nnunet.imported import import_model as make_package

    wanted = Wanted(
        configurations=configurations or (),
        folds=folds or (),
        checkpoint=checkpoint,
        postprocessing=postprocessing,
    )
    make_package(sources, output, wanted)
    console.print(f"model package: {output}")
