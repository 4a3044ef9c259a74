"""`segflow predict-fold`: label the cases that a network has never seen."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from segflow.commands.console import progress_bar
from segflow.commands.options import add_inference_arguments, choose_device, fold_of, inference_recipe
from segflow.commands.prediction import load_ensemble
from segflow.contracts.artefacts import Manifest
from segflow.export import restore_labels
from segflow.io.dataset import read_description
from segflow.io.files import digest_of, write_text
from segflow.io.images import write_labels
from segflow.io.plans import read_folds, read_plan
from segflow.io.probabilities import write_probabilities
from segflow.io.store import CaseStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments. Source: ours."""
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument("--plan", type=Path, required=True, help="plans.json")
    parser.add_argument("--folds", type=Path, required=True, help="splits_final.json")
    parser.add_argument("--fold", type=int, required=True, help="its number, from 0")
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared cases")
    parser.add_argument("--previous-stage", type=Path, help="folder of the previous stage's labels (cascade)")
    parser.add_argument("--model", type=Path, required=True, help="weights file of this fold")
    parser.add_argument("--output", type=Path, required=True, help="folder of the label maps")
    parser.add_argument(
        "--manifest", type=Path, required=True, help="JSON with a digest per case, written last"
    )
    parser.add_argument("--save-probabilities", action="store_true", help="also keep them, for ensembles")
    add_inference_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Predict the fold's held-out cases from their prepared arrays. Source: method.md section 19."""
    torch.set_num_threads(options.threads)
    description, labels = read_description(options.dataset)
    plan = read_plan(options.plan)
    held_out = fold_of(read_folds(options.folds), options.fold).val
    store = CaseStore(options.data, previous_stage=options.previous_stage)
    recipe = inference_recipe(plan.recipe, options)
    ensemble = load_ensemble([options.model], labels, recipe, device=choose_device(options.device))
    digests = {}
    with progress_bar(f"predict {ensemble.configuration.name} fold {options.fold}", len(held_out)) as bar:
        for identifier in held_out:
            case, record = store.read(identifier), store.record(identifier)
            scores = ensemble.probabilities(case.image, record, case.previous_stage)
            file = options.output / f"{identifier}{description['file_ending']}"
            write_labels(file, restore_labels(scores, record, plan, labels), record.geometry)
            if options.save_probabilities:
                write_probabilities(options.output / "probabilities" / f"{identifier}.npz", scores)
            digests[identifier] = digest_of(file)
            bar.advance()
    write_text(options.manifest, Manifest(cases=digests).to_json())
