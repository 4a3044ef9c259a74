"""`segflow predict-fold`: label the cases that a network has never seen."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch

from segflow.commands.options import add_device_arguments, add_settings_argument, fold_of
from segflow.commands.resume import label_cases
from segflow.contracts.artefacts import Manifest
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Preparation
from segflow.images.cases import write_labels
from segflow.images.dataset import read_description
from segflow.images.formats import label_ending
from segflow.network.device import choose_device
from segflow.nnunet.folds import read_folds
from segflow.nnunet.parts import read_preparation
from segflow.prediction.restore import label_map
from segflow.prediction.sliding_window import FoldEnsemble, load_ensemble
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.settings import parse_settings
from segflow.storage.cases import CaseStore
from segflow.storage.files import digest_of, key_of, read_contract
from segflow.storage.manifests import read_prepared
from segflow.storage.probabilities import write_probabilities


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument(
        "--preparation", type=Path, required=True, help="plan's preparation/CONFIGURATION.json"
    )
    parser.add_argument("--folds", type=Path, required=True, help="splits_final.json")
    parser.add_argument("--fold", type=int, required=True, help="its number, from 0")
    parser.add_argument("--prepared", type=Path, required=True, help="prepared.json of the prepared cases")
    parser.add_argument(
        "--previous-stage", type=Path, help="manifest of the previous stage's labels (cascade)"
    )
    parser.add_argument("--model", type=Path, required=True, help="weights file of this fold")
    parser.add_argument("--output", type=Path, required=True, help="folder of the label maps")
    parser.add_argument(
        "--manifest", type=Path, required=True, help="JSON with a digest per case, written last"
    )
    parser.add_argument("--save-probabilities", action="store_true", help="also keep them, for ensembles")
    add_settings_argument(parser, "inference")
    add_device_arguments(parser)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What turns a prepared case into files."""

    ensemble: FoldEnsemble
    store: CaseStore
    preparation: Preparation
    labels: Labels
    output: Path
    ending: str
    save_probabilities: bool
    threads: int

    def predict(self, identifier: str) -> list[Path]:
        """Write the label map, and the probabilities if they are wanted; give their paths."""
        case, record = self.store.read(identifier), self.store.record(identifier)
        stream = self.ensemble.scores(case.image, self.preparation, case.previous_stage)
        file = self.output / f"{identifier}{self.ending}"
        if not self.save_probabilities:
            found = label_map(stream, record, threads=self.threads)
            write_labels(file, found, record.geometry)
            return [file]
        probabilities = self.output / "probabilities" / f"{identifier}.npz"
        with write_probabilities(
            probabilities, record, self.preparation, n_outputs=self.labels.n_outputs
        ) as keep:
            found = label_map(stream, record, threads=self.threads, keep=keep)
        write_labels(file, found, record.geometry)
        return [file, probabilities]


def run(options: argparse.Namespace) -> None:
    """Predict the fold's held-out cases from their prepared arrays. Source: method.md section 19.

    After an interruption, the cases that were finished are not predicted again.
    """
    torch.set_num_threads(options.threads)
    description, labels = read_description(options.dataset)
    held_out = fold_of(read_folds(options.folds), options.fold).val
    recipe = parse_settings(InferenceRecipe, "inference", options.settings)
    previous = None if options.previous_stage is None else options.previous_stage.parent
    device = choose_device(options.device)
    job = _Job(
        ensemble=load_ensemble([options.model], labels, recipe, device=device),
        store=CaseStore(options.prepared.parent, previous_stage=previous),
        preparation=read_preparation(options.preparation),
        labels=labels,
        output=options.output,
        ending=label_ending(str(description["file_ending"])),
        save_probabilities=options.save_probabilities,
        threads=options.threads,
    )
    title = f"predict {job.ensemble.configuration.name} fold {options.fold}"
    label_cases(title, _keys(options, held_out, job, device), job.predict, options.manifest)


def _keys(options: argparse.Namespace, cases: tuple[str, ...], job: _Job, device: str) -> dict[str, str]:
    """Case to a name for all that its prediction depends on."""
    prepared = read_prepared(options.prepared)
    previous: dict[str, str] = {}
    if options.previous_stage is not None:
        previous = read_contract(Manifest, options.previous_stage).cases
    common = key_of(
        options.code,
        digest_of(options.model),
        job.preparation.to_json(),
        job.ensemble.recipe.to_json(),
        repr(job.labels),
        f"{device} {job.save_probabilities}",
    )
    missing = [case for case in cases if case not in prepared]
    if missing:
        raise PredictionError(f"fold {options.fold} needs case {missing[0]}, which has not been prepared")
    return {case: key_of(common, prepared[case], previous.get(case, "")) for case in cases}
