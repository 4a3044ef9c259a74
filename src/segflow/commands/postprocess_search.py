"""`segflow postprocess-search`: find the post-processing that improves the Dice for the chosen model."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from segflow.commands.arguments import (
    ALONE,
    CORES,
    DEFAULTS,
    DatasetFile,
    InputFile,
    ResultFile,
    Settings,
    ThisCall,
    Workers,
)
from segflow.commands.console import console, progress_bar
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


def postprocess_search(
    *,
    selection: InputFile,
    dataset: DatasetFile,
    output: ResultFile,
    workers: Workers = CORES,
    values: Settings = DEFAULTS,
    call: ThisCall = ALONE,
) -> None:
    """Find the post-processing that improves the Dice for the chosen model, on its out-of-fold label maps.

    Args:
        selection: selection.json.
        dataset: The data set's folder or dataset.json.
        output: postprocessing.json.
        workers: Processes.
        values: Section "postprocessing".
        call: The call.

    Source: method.md section 23.
    """
    _, labels = read_description(dataset)
    recipe = parse_settings(PostprocessingRecipe, "postprocessing", values.settings)
    file = selection.parent / read_contract(Selection, selection).best.summary
    call.reads(file)
    summary = read_contract(Summary, file)
    if recipe.is_empty or not summary.metric_per_case:
        mean = summary.foreground_mean.dice
        nothing = PostProcessing(
            operations=(), steps=(), foreground_mean_dice_before=mean, foreground_mean_dice_after=mean
        )
        write_text(output, nothing.to_json())
        return
    measured = bool(recipe.remove_below_mm3)
    cases = [
        partial(_load, Path(case.prediction_file), Path(case.reference_file), measured=measured)
        for case in summary.metric_per_case
    ]
    with progress_bar("post-processing", len(cases)) as bar:
        spread = partial(map_cases, workers=workers)
        found = search(cases, labels, recipe, on_case=bar.advance, mapper=spread)
    write_text(output, found.to_json())
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
        console.print(f"no post-processing improves the Dice ({len(found.steps)} tried)")


def _load(prediction: Path, reference: Path, *, measured: bool) -> tuple[LabelMap, LabelMap, SpacingMm]:
    """A pair and its spacing; where no volume is asked for, any will do."""
    spacing_mm = read_geometry(prediction, case=prediction.name).spacing_mm if measured else (1.0, 1.0, 1.0)
    return (
        read_labels(prediction, case=prediction.name),
        read_labels(reference, case=reference.name),
        spacing_mm,
    )
