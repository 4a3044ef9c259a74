"""`segflow ensemble`: average the probabilities of two configurations on one fold."""

from __future__ import annotations

import argparse
from pathlib import Path

from segflow.commands.console import progress_bar
from segflow.commands.options import fold_of
from segflow.contracts.artefacts import Manifest
from segflow.ensembling import average
from segflow.export import restore_labels
from segflow.io.dataset import read_description
from segflow.io.files import digest_of, write_text
from segflow.io.images import write_labels
from segflow.io.plans import read_folds, read_plan
from segflow.io.probabilities import read_probabilities
from segflow.io.store import CaseStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments. Source: ours."""
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument("--plan", type=Path, required=True, help="plans.json")
    parser.add_argument("--folds", type=Path, required=True, help="splits_final.json")
    parser.add_argument("--fold", type=int, required=True, help="its number, from 0")
    parser.add_argument("--data", type=Path, required=True, help="folder of either's prepared cases")
    parser.add_argument("--members", type=Path, nargs=2, required=True, help="folders of their predictions")
    parser.add_argument("--output", type=Path, required=True, help="folder of the label maps")
    parser.add_argument(
        "--manifest", type=Path, required=True, help="JSON with a digest per case, written last"
    )


def run(options: argparse.Namespace) -> None:
    """Average, reduce to labels, write. Source: method.md section 21."""
    description, labels = read_description(options.dataset)
    plan = read_plan(options.plan)
    held_out = fold_of(read_folds(options.folds), options.fold).val
    store = CaseStore(options.data)
    digests = {}
    with progress_bar(f"ensemble fold {options.fold}", len(held_out)) as bar:
        for identifier in held_out:
            files = [folder / "probabilities" / f"{identifier}.npz" for folder in options.members]
            scores = average(read_probabilities(file) for file in files)
            record = store.record(identifier)
            file = options.output / f"{identifier}{description['file_ending']}"
            write_labels(file, restore_labels(scores, record, plan, labels), record.geometry)
            digests[identifier] = digest_of(file)
            bar.advance()
    write_text(options.manifest, Manifest(cases=digests).to_json())
