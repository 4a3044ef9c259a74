"""`segflow previous-stage`: bring low-resolution predictions to the grid of the cascade's prepared cases."""

from __future__ import annotations

import argparse
from pathlib import Path

from segflow.commands.console import progress_bar
from segflow.contracts.artefacts import Manifest
from segflow.images.cases import read_labels
from segflow.images.dataset import read_description
from segflow.images.formats import label_ending
from segflow.nnunet.folds import read_folds
from segflow.nnunet.parts import read_preparation
from segflow.preprocessing.prepare import prepare_labels
from segflow.storage.cases import CaseStore
from segflow.storage.files import digest_of, write_array, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument(
        "--preparation",
        type=Path,
        required=True,
        help="plan's preparation/CONFIGURATION.json of the cascade's cases",
    )
    parser.add_argument("--folds", type=Path, required=True, help="splits_final.json")
    parser.add_argument(
        "--predictions", type=Path, required=True, help="folder with fold_0, fold_1, ... of label maps"
    )
    parser.add_argument("--prepared", type=Path, required=True, help="prepared.json of the cascade's cases")
    parser.add_argument(
        "--manifest", type=Path, required=True, help="JSON with a digest per case, beside the label maps"
    )


def run(options: argparse.Namespace) -> None:
    """Resample every case's out-of-fold prediction. Source: method.md section 19."""
    description, _ = read_description(options.dataset)
    preparation = read_preparation(options.preparation)
    store = CaseStore(options.prepared.parent)
    held_out = [
        (number, identifier)
        for number, fold in enumerate(read_folds(options.folds))
        for identifier in fold.val
    ]
    digests = {}
    with progress_bar("previous stage", len(held_out)) as bar:
        for number, identifier in held_out:
            name = f"{identifier}{label_ending(description['file_ending'])}"
            file = options.predictions / f"fold_{number}" / name
            found = read_labels(file, case=identifier)
            resampled = prepare_labels(found, store.record(identifier), preparation)
            target = options.manifest.parent / f"{identifier}.npy"
            write_array(target, resampled)
            digests[identifier] = digest_of(target)
            bar.advance()
    write_text(options.manifest, Manifest(cases=digests).to_json())
