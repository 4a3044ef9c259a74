"""`segflow package`: put the chosen model together in one folder that `segflow predict` understands."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from segflow.commands.console import console
from segflow.commands.options import add_settings_argument
from segflow.contracts.model import ModelCard
from segflow.contracts.plan import Plan
from segflow.contracts.scores import PostProcessing, Selection
from segflow.nnunet.plans import read_plan
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.settings import parse_settings
from segflow.storage.files import open_atomically, read_contract, versions, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument("--fingerprint", type=Path, required=True, help="dataset_fingerprint.json")
    parser.add_argument("--plan", type=Path, required=True, help="plans.json")
    parser.add_argument("--selection", type=Path, required=True, help="selection.json")
    parser.add_argument("--postprocessing", type=Path, required=True, help="postprocessing.json")
    parser.add_argument(
        "--models", type=Path, required=True, help="folder with CONFIGURATION/fold_K/model.pt"
    )
    parser.add_argument("--folds", type=int, nargs="+", required=True, help="folds whose networks are packed")
    parser.add_argument("--output", type=Path, required=True, help="the package's model.json; written last")
    parser.add_argument("--recipe", required=True, help="its name, for people")
    add_settings_argument(parser, "inference")


def run(options: argparse.Namespace) -> None:
    """Copy what the chosen model needs, and say how it was chosen. Source: method.md sections 22-24."""
    plan = read_plan(options.plan)
    selection = read_contract(Selection, options.selection)
    chosen = selection.best.configurations
    stages = _previous_stages(plan, chosen)
    recipe = parse_settings(InferenceRecipe, "inference", options.settings)
    card = ModelCard(
        dataset=plan.dataset_name,
        recipe=options.recipe,
        inference=recipe.model_dump(),
        configurations=chosen,
        stages=stages,
        folds=tuple(options.folds),
        postprocessing=read_contract(PostProcessing, options.postprocessing),
        selection=selection,
        versions=versions(),
    )
    folder = options.output.parent
    options.output.unlink(missing_ok=True)
    options.also_read = []
    for source in (options.dataset, options.fingerprint, options.plan):
        _copy(source, folder / source.name)
    for configuration in (*stages, *chosen):
        for fold in options.folds:
            source = options.models / configuration / f"fold_{fold}" / "model.pt"
            options.also_read.append(source)
            _copy(source, folder / configuration / f"fold_{fold}.pt")
    write_text(options.output, card.to_json())
    console.print(f"model package: {folder}")


def _previous_stages(plan: Plan, chosen: tuple[str, ...]) -> tuple[str, ...]:
    before = (plan.configuration(name).previous_stage for name in chosen)
    return tuple(dict.fromkeys(name for name in before if name is not None and name not in chosen))


def _copy(source: Path, target: Path) -> None:
    with open_atomically(target) as temporary:
        shutil.copyfile(source, temporary)
