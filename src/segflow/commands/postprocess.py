"""`segflow postprocess`: apply the chosen post-processing to label maps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from segflow.commands.arguments import (
    CORES,
    Call,
    DatasetFile,
    InputFile,
    InputFolder,
    OutputFolder,
    ResultFile,
    Workers,
)
from segflow.commands.console import progress_bar
from segflow.contracts.artefacts import Manifest
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.labels import Labels
from segflow.contracts.plan import FoldName
from segflow.contracts.scores import Operation, PostProcessing, Selection
from segflow.images.cases import read_geometry, read_labels, write_labels
from segflow.images.dataset import read_description
from segflow.images.formats import label_ending
from segflow.processes.pool import map_cases
from segflow.selection.operations import apply
from segflow.storage.files import digest_of, read_contract, write_text
from segflow.storage.manifests import list_label_maps
from segflow.volumes.labelmaps import label_dtype


def postprocess(
    *,
    postprocessing: InputFile,
    dataset: DatasetFile,
    input: tuple[InputFolder, ...] = (),  # noqa: A002  the option's name
    selection: InputFile | None = None,
    predictions: InputFolder | None = None,
    folds: list[FoldName] | None = None,
    output: OutputFolder,
    manifest: ResultFile,
    workers: Workers = CORES,
    call: Call = Call(),
) -> None:
    """Apply the chosen post-processing to label maps: those of --input, or those of the best candidate.

    Args:
        postprocessing: postprocessing.json.
        dataset: The data set's folder or dataset.json.
        input: Folders of label maps.
        selection: Instead of --input: selection.json, to take the best candidate's predictions.
        predictions: With --selection: folder with CANDIDATE/fold_K.
        folds: With --selection: folds to take.
        output: Folder of the processed label maps.
        manifest: JSON with a digest per case, written last.
        workers: Processes.
        call: The call.

    Raises:
        ConfigurationError: Both --input and --selection, or neither.
        PredictionError: There are no label maps, or two of the same name.

    Source: method.md section 23.
    """
    if bool(input) == (selection is not None):
        raise ConfigurationError("name either --input or --selection")
    folders: Sequence[Path] = input
    if selection is not None:
        if predictions is None or folds is None:
            raise ConfigurationError("--selection goes with --predictions and --folds")
        best = read_contract(Selection, selection).best.name
        folders = [predictions / best / f"fold_{fold}" for fold in folds]
    description, labels = read_description(dataset)
    operations = read_contract(PostProcessing, postprocessing).operations
    ending = label_ending(str(description["file_ending"]))
    files = list_label_maps(folders, ending)
    call.reads(*(file for folder in folders if (file := folder / "manifest.json").exists()))
    work = partial(_process, operations=operations, labels=labels, folder=output)
    digests = {}
    with progress_bar("post-process", len(files)) as bar:
        for file, digest in zip(files, map_cases(work, files, workers=workers), strict=True):
            digests[file.name.removesuffix(ending)] = digest
            bar.advance()
    write_text(manifest, Manifest(cases=digests).to_json())


def _process(file: Path, *, operations: tuple[Operation, ...], labels: Labels, folder: Path) -> str:
    """Write a label map as a user would get it; the digest of the file."""
    geometry = read_geometry(file, case=file.name)
    found = apply(operations, read_labels(file, case=file.name), spacing_mm=geometry.spacing_mm)
    write_labels(folder / file.name, found.astype(label_dtype(labels)), geometry)
    return digest_of(folder / file.name)
