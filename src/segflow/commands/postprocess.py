"""`segflow postprocess`: apply the chosen post-processing to label maps."""

from __future__ import annotations

import argparse
from pathlib import Path

from segflow.commands.console import progress_bar
from segflow.contracts.artefacts import Manifest
from segflow.contracts.errors import ConfigurationError, PredictionError
from segflow.contracts.scores import PostProcessing, Selection
from segflow.io.dataset import read_description
from segflow.io.files import digest_of, read_contract, write_text
from segflow.io.formats import label_ending
from segflow.io.images import read_geometry, read_labels, write_labels
from segflow.io.labelmaps import list_label_maps
from segflow.postprocessing import apply
from segflow.volumes.labelmaps import label_dtype


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments. Source: ours."""
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
    digests = {}
    with progress_bar("post-process", len(files)) as bar:
        for file in files:
            case = file.name.removesuffix(ending)
            found = apply(operations, read_labels(file, case=case)).astype(label_dtype(labels))
            write_labels(options.output / file.name, found, read_geometry(file, case=case))
            digests[case] = digest_of(options.output / file.name)
            bar.advance()
    write_text(options.manifest, Manifest(cases=digests).to_json())


def _folders(options: argparse.Namespace) -> list[Path]:
    if options.input is not None:
        return list(options.input)
    if options.predictions is None or options.folds is None:
        raise ConfigurationError("--selection goes with --predictions and --folds")
    best = read_contract(Selection, options.selection).best.name
    return [options.predictions / best / f"fold_{fold}" for fold in options.folds]
