"""`segflow postprocess-search`: find the post-processing that pays for the chosen model."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from segflow.commands.console import console, progress_bar
from segflow.commands.options import add_settings_argument
from segflow.contracts.arrays import LabelMap, SpacingMm
from segflow.contracts.labels import Labels
from segflow.contracts.scores import PostProcessing, Selection, Summary
from segflow.images.cases import read_geometry, read_labels
from segflow.images.dataset import read_description
from segflow.metrics.overlap import target_key
from segflow.processes.pool import map_cases
from segflow.recipes.selection import PostprocessingRecipe
from segflow.recipes.settings import parse_settings
from segflow.selection.search import search
from segflow.storage.files import read_contract, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--selection", type=Path, required=True, help="selection.json")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument("--output", type=Path, required=True, help="postprocessing.json")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)")
    add_settings_argument(parser, "postprocessing")


def run(options: argparse.Namespace) -> None:
    """Search on the out-of-fold label maps of the best candidate. Source: method.md section 23."""
    _, labels = read_description(options.dataset)
    recipe = parse_settings(PostprocessingRecipe, "postprocessing", options.settings)
    selection = read_contract(Selection, options.selection)
    file = options.selection.parent / selection.best.summary
    summary = read_contract(Summary, file)
    options.also_read = [file]
    if recipe.is_empty:
        mean = summary.foreground_mean.dice
        nothing = PostProcessing(
            operations=(), steps=(), foreground_mean_dice_before=mean, foreground_mean_dice_after=mean
        )
        write_text(options.output, nothing.to_json())
        return
    cases = [
        partial(
            _load,
            Path(case.prediction_file),
            Path(case.reference_file),
            measured=bool(recipe.remove_below_mm3),
        )
        for case in summary.metric_per_case
    ]
    with progress_bar("post-processing", len(cases)) as bar:
        spread = partial(map_cases, workers=options.workers)
        found = search(cases, labels, recipe, on_case=bar.advance, mapper=spread)
    write_text(options.output, found.to_json())
    _say(found, labels)


def _say(found: PostProcessing, labels: Labels) -> None:
    names = dict(zip(map(target_key, labels.targets), labels.target_names, strict=True))
    for step in found.steps:
        if step.accepted:
            console.print(
                f"{step.operation.description} of {names.get(step.target, 'the whole foreground')}: "
                f"Dice {step.dice_before:.4f} to {step.dice_after:.4f}"
            )
    if not found.operations:
        console.print(f"no post-processing pays ({len(found.steps)} questions)")


def _load(prediction: Path, reference: Path, *, measured: bool) -> tuple[LabelMap, LabelMap, SpacingMm]:
    """A pair and its spacing; where no volume is asked for, any will do."""
    spacing_mm = read_geometry(prediction, case=prediction.name).spacing_mm if measured else (1.0, 1.0, 1.0)
    return (
        read_labels(prediction, case=prediction.name),
        read_labels(reference, case=reference.name),
        spacing_mm,
    )
