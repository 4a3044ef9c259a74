"""`segflow export`: a model package in a form that other programs use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from segflow.commands.arguments import ModelPackage, OutputPath
from segflow.commands.console import console
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.plan import FoldName

Form = Literal["nnunet", "zip", "onnx", "monai-bundle"]


def export(
    form: Form,
    model: ModelPackage,
    *,
    output: OutputPath,
    folds: list[FoldName] | None = None,
    per_fold: bool = False,
) -> None:
    """Write a model package in a form that other programs use.

    Args:
        form: nnunet (its results folders, one per configuration, with a checkpoint per fold), zip (the same in one
            file with all of the package, which segflow import-model and nnU-Net's own command install), onnx (a file
            per configuration, checked with onnxruntime) or monai-bundle (which predicts by segflow in MONAI's tools).
        model: Model package: its folder, its model.json or the experiment's folder.
        output: Of nnunet the folder of a data set's results, as nnUNet_results/Dataset004_Hippocampus; of zip the file;
            of onnx and monai-bundle a folder.
        folds: Of onnx: the folds whose networks are averaged (default: all packed).
        per_fold: Of onnx: a file for each fold.

    Raises:
        ConfigurationError: An option is not of this form, or its extra is not installed.
    """
    if form != "onnx" and (folds or per_fold):
        raise ConfigurationError(f"--folds and --per-fold are options of onnx; {form} has all folds")
    for path in _written(form, model, output, folds, per_fold=per_fold):
        console.print(f"{form}: {path}")


def _written(
    form: Form, model: Path, output: Path, folds: Sequence[FoldName] | None, *, per_fold: bool
) -> tuple[Path, ...]:
    """The files or folders that are made; what makes them needs torch."""
    if form == "onnx":
        from segflow.prediction.onnx_files import export_onnx

        return export_onnx(model, output, folds=folds, per_fold=per_fold)
    if form == "monai-bundle":
        from segflow.prediction.bundle import export_bundle

        return (export_bundle(model, output),)
    from segflow.nnunet.exported import export_package, export_zip

    if form == "nnunet":
        return export_package(model, output)
    export_zip(model, output)
    return (output,)
