"""`segflow ensemble`: average the probabilities of two configurations on one fold."""

from __future__ import annotations

import argparse
from pathlib import Path

from segflow.commands.options import fold_of
from segflow.commands.resume import label_cases
from segflow.contracts.errors import PredictionError
from segflow.images.cases import write_labels
from segflow.images.dataset import read_description
from segflow.images.formats import label_ending
from segflow.nnunet.folds import read_folds
from segflow.nnunet.parts import read_preparation
from segflow.prediction.averaging import averaged_label_map
from segflow.storage.cases import CaseStore
from segflow.storage.files import digest_of, key_of
from segflow.storage.probabilities import probability_slabs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument(
        "--preparation", type=Path, required=True, help="plan's preparation/CONFIGURATION.json of either"
    )
    parser.add_argument("--folds", type=Path, required=True, help="splits_final.json")
    parser.add_argument("--fold", type=int, required=True, help="its number, from 0")
    parser.add_argument("--prepared", type=Path, required=True, help="prepared.json of its cases")
    parser.add_argument("--members", type=Path, nargs=2, required=True, help="folders of their predictions")
    parser.add_argument("--output", type=Path, required=True, help="folder of the label maps")
    parser.add_argument(
        "--manifest", type=Path, required=True, help="JSON with a digest per case, written last"
    )


def run(options: argparse.Namespace) -> None:
    """Average, reduce to labels, write. Source: method.md section 21."""
    description, labels = read_description(options.dataset)
    preparation = read_preparation(options.preparation)
    held_out = fold_of(read_folds(options.folds), options.fold).val
    store = CaseStore(options.prepared.parent)

    def members(case: str) -> list[Path]:
        return [folder / "probabilities" / f"{case}.npz" for folder in options.members]

    def make(case: str) -> list[Path]:
        record = store.record(case)
        found = averaged_label_map(list(map(probability_slabs, members(case))), record, preparation, labels)
        file: Path = options.output / f"{case}{label_ending(description['file_ending'])}"
        write_labels(file, found, record.geometry)
        return [file]

    common = key_of(options.code, preparation.to_json(), repr(labels))
    keys = {case: key_of(common, *map(_digest, members(case))) for case in held_out}
    label_cases(f"ensemble fold {options.fold}", keys, make, options.manifest)


def _digest(file: Path) -> str:
    if not file.exists():
        raise PredictionError(f"{file} does not exist; predict this fold again with probabilities")
    return digest_of(file)
