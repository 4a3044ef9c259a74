"""`segflow postprocess-search`: find the post-processing that pays for the chosen model."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from segflow.commands.console import console, progress_bar
from segflow.commands.options import add_settings_argument
from segflow.contracts.arrays import LabelMap
from segflow.contracts.scores import PostProcessing, Selection, Summary
from segflow.io.dataset import read_description
from segflow.io.files import read_contract, write_text
from segflow.io.images import read_labels
from segflow.postprocessing import passes_over_cases, search
from segflow.recipes import PostprocessingRecipe, parse_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments. Source: ours."""
    parser.add_argument("--selection", type=Path, required=True, help="selection.json")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument("--output", type=Path, required=True, help="postprocessing.json")
    add_settings_argument(parser, "postprocessing")


def run(options: argparse.Namespace) -> None:
    """Search on the out-of-fold label maps of the best candidate. Source: method.md section 23."""
    _, labels = read_description(options.dataset)
    recipe = parse_settings(PostprocessingRecipe, "postprocessing", options.settings)
    selection = read_contract(Selection, options.selection)
    file = options.selection.parent / selection.best.summary
    summary = read_contract(Summary, file)
    options.also_read = [file]
    if not recipe.largest_component:
        mean = summary.foreground_mean.dice
        nothing = PostProcessing(
            operations=(), steps=(), foreground_mean_dice_before=mean, foreground_mean_dice_after=mean
        )
        write_text(options.output, nothing.to_json())
        return
    cases = [
        partial(_load, Path(case.prediction_file), Path(case.reference_file))
        for case in summary.metric_per_case
    ]
    with progress_bar("post-processing", len(cases) * passes_over_cases(labels)) as bar:
        found = search(cases, labels, on_case=bar.advance)
    write_text(options.output, found.to_json())
    kept = [step.target for step in found.steps if step.accepted]
    console.print(f"keep the largest component only: {', '.join(kept) or 'nowhere'}")


def _load(prediction: Path, reference: Path) -> tuple[LabelMap, LabelMap]:
    return read_labels(prediction, case=prediction.name), read_labels(reference, case=reference.name)
