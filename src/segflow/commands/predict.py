"""`segflow predict`: label new images with a model package."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from segflow.commands.console import console, logger, progress_bar
from segflow.commands.options import add_device_arguments, choose_device, configuration_of
from segflow.commands.prediction import FoldEnsemble, label_map, load_ensemble
from segflow.contracts.arrays import LabelMap
from segflow.contracts.case import CaseRecord, RawCase
from segflow.contracts.errors import PredictionError, SegflowError
from segflow.contracts.labels import Labels
from segflow.contracts.model_card import ModelCard
from segflow.contracts.plan import Plan
from segflow.export import ScoreStream
from segflow.io.dataset import find_cases, read_description
from segflow.io.files import read_contract
from segflow.io.formats import label_ending
from segflow.io.images import read_case, write_labels
from segflow.io.plans import read_plan
from segflow.postprocessing import apply
from segflow.preprocessing import prepare_case, prepare_labels
from segflow.recipes import InferenceRecipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments. Source: ours."""
    parser.add_argument("--model", type=Path, required=True, help="model package: the folder with model.json")
    parser.add_argument(
        "--input", type=Path, required=True, help="folder of images IDENTIFIER_0000.ending, ..."
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the label maps IDENTIFIER.ending"
    )
    parser.add_argument(
        "--folds", type=int, nargs="+", help="use only these folds' networks (default: all packed)"
    )
    parser.add_argument(
        "--step", type=float, help="tile distance as a share of the patch (default: the model's)"
    )
    parser.add_argument(
        "--mirroring",
        action=argparse.BooleanOptionalAction,
        help="average over mirrored inputs (default: the model's)",
    )
    add_device_arguments(parser)


@dataclass(frozen=True)
class _Model:
    """A model package, loaded.

    Attributes:
        card: What it is.
        plan: For preprocessing.
        labels: Classes or regions.
        channels: Of an image.
        ending: Of image files.
        ensembles: By configuration, stages of a cascade included.
    """

    card: ModelCard
    plan: Plan
    labels: Labels
    channels: int
    ending: str
    ensembles: dict[str, FoldEnsemble]
    threads: int

    def label_map(self, raw: RawCase) -> LabelMap:
        """Predict, average the configurations, reduce to labels, post-process; in the image's own geometry."""
        found = self._restored(raw, self.card.configurations)
        return apply(self.card.postprocessing.operations, found)

    def _restored(self, raw: RawCase, names: Sequence[str]) -> LabelMap:
        """All configurations share the crop, so their probabilities can be averaged there."""
        predicted = [self._scores(raw, name) for name in names]
        streams, records = zip(*predicted, strict=True)
        return label_map(streams, records[0], self.labels, threads=self.threads)

    def _scores(self, raw: RawCase, name: str) -> tuple[ScoreStream, CaseRecord]:
        configuration = configuration_of(self.plan, name)
        preparation = self.plan.preparation(name)
        prepared = prepare_case(raw, preparation, self.labels)
        previous = None
        if configuration.previous_stage is not None:
            coarse = self._restored(raw, [configuration.previous_stage])
            previous = prepare_labels(coarse, prepared.record, preparation)
        return self.ensembles[name].scores(prepared.image, preparation, previous), prepared.record


def run(options: argparse.Namespace) -> None:
    """Predict every case of the input; a case that fails is named at the end, the others are written.

    Raises:
        PredictionError: Some cases failed.

    Source: method.md section 18.
    """
    torch.set_num_threads(options.threads)
    model = _load(options)
    cases = find_cases(options.input, model.ending, model.channels)
    faults = []
    with progress_bar(f"predict with {model.card.selection.best.name}", len(cases)) as bar:
        for case in cases:
            try:
                raw = read_case(case, channels=model.channels)
                for warning in raw.warnings:
                    logger.warning("%s", warning)
                file = options.output / f"{case.identifier}{label_ending(model.ending)}"
                write_labels(file, model.label_map(raw), raw.geometry)
            except SegflowError as problem:
                logger.info("%s", problem)
                faults.append(str(problem))
            bar.advance(note=case.identifier)
    console.print(f"{len(cases) - len(faults)} of {len(cases)} cases labelled in {options.output}")
    if faults:
        raise PredictionError("\n".join(faults))


def _load(options: argparse.Namespace) -> _Model:
    folder = options.model
    card = read_contract(ModelCard, folder / "model.json", error=PredictionError)
    description, labels = read_description(folder / "dataset.json")
    chosen = {"step": options.step, "mirroring": options.mirroring}
    given = {key: value for key, value in chosen.items() if value is not None}
    where = "options --step and --mirroring"
    recipe = InferenceRecipe.parse(card.inference | given, where=where, error=PredictionError)
    folds = options.folds or card.folds
    device = choose_device(options.device)
    ensembles = {
        name: load_ensemble(
            [folder / name / f"fold_{fold}.pt" for fold in folds], labels, recipe, device=device
        )
        for name in (*card.stages, *card.configurations)
    }
    return _Model(
        card=card,
        plan=read_plan(folder / "plans.json"),
        labels=labels,
        channels=len(description["channel_names"]),
        ending=str(description["file_ending"]),
        ensembles=ensembles,
        threads=options.threads,
    )
