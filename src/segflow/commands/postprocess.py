"""`segflow postprocess`: apply the chosen post-processing to label maps."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from segflow.commands.console import progress_bar
from segflow.contracts.artefacts import Manifest
from segflow.contracts.errors import ConfigurationError, PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import Operation, PostProcessing, Selection
from segflow.images.cases import read_geometry, read_labels, write_labels
from segflow.images.dataset import read_description
from segflow.images.formats import label_ending
from segflow.processes.pool import map_cases
from segflow.selection.pieces import apply
from segflow.storage.files import digest_of, read_contract, write_text
from segflow.storage.manifests import list_label_maps
from segflow.volumes.labelmaps import label_dtype


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--postprocessing", type=Path, required=True, help="postprocessing.json")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", type=Path, nargs="+", help="folders of label maps")
    source.add_argument(
        "--selection", type=Path, help="selection.json: take the best candidate's predictions"
    )
    parser.add_argument("--predictions", type=Path, help="with --selection: folder with CANDIDATE/fold_K")
    parser.add_argument("--folds", type=int, nargs="+", help="with --selection: folds to take")
    parser.add_argument("--output", type=Path, required=True, help="folder of the processed label maps")
    parser.add_argument(
        "--manifest", type=Path, required=True, help="JSON with a digest per case, written last"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)")


def run(options: argparse.Namespace) -> None:
    """Apply the operations to every label map.

    Raises:
        PredictionError: There are no label maps, or two of the same name.

    Source: method.md section 23.
    """
    description, labels = read_description(options.dataset)
    operations = read_contract(PostProcessing, options.postprocessing).operations
    ending = label_ending(str(description["file_ending"]))
    folders = _folders(options)
    options.also_read = [file for folder in folders if (file := folder / "manifest.json").exists()]
    files = [file for folder in folders for file in list_label_maps(folder, ending)]
    if len({file.name for file in files}) != len(files) or not files:
        raise PredictionError(
            f"{', '.join(map(str, folders))}: {len(files)} label maps (*{ending}); "
            "there must be at least one, and no two of the same name"
        )
    work = partial(_process, operations=operations, labels=labels, folder=options.output)
    digests = {}
    with progress_bar("post-process", len(files)) as bar:
        for file, digest in zip(files, map_cases(work, files, workers=options.workers), strict=True):
            digests[file.name.removesuffix(ending)] = digest
            bar.advance()
    write_text(options.manifest, Manifest(cases=digests).to_json())


def _process(file: Path, *, operations: tuple[Operation, ...], labels: Labels, folder: Path) -> str:
    """Write a label map as a user would get it; the digest of the file."""
    geometry = read_geometry(file, case=file.name)
    found = apply(operations, read_labels(file, case=file.name), spacing_mm=geometry.spacing_mm)
    write_labels(folder / file.name, found.astype(label_dtype(labels)), geometry)
    return digest_of(folder / file.name)


def _folders(options: argparse.Namespace) -> list[Path]:
    if options.input is not None:
        return list(options.input)
    if options.predictions is None or options.folds is None:
        raise ConfigurationError("--selection goes with --predictions and --folds")
    best = read_contract(Selection, options.selection).best.name
    return [options.predictions / best / f"fold_{fold}" for fold in options.folds]
