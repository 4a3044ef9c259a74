"""`segflow postprocess-search`: find the post-processing that improves the Dice for the chosen model."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

from segflow.commands.arguments import CORES, Call, DatasetFile, InputFile, ResultFile, Settings, Workers
from segflow.commands.console import console, progress_bar
from segflow.contracts.labels import Labels, Target, members
from segflow.contracts.scores import PostProcessing, Selection, Summary
from segflow.contracts.spelling import nfc
from segflow.images.cases import read_geometry, read_labels
from segflow.images.dataset import read_dataset, read_description
from segflow.images.formats import label_ending
from segflow.metrics.overlap import target_key
from segflow.processes.pool import map_cases
from segflow.recipes.selection import PostprocessingRecipe
from segflow.recipes.settings import parse_settings
from segflow.selection.operations import Pieces, cut
from segflow.selection.search import search
from segflow.storage.files import read_contract, write_text
from segflow.volumes.components import count_components


def postprocess_search(
    *,
    selection: InputFile,
    dataset: DatasetFile,
    output: ResultFile,
    workers: Workers = CORES,
    values: Settings = Settings(),
    call: Call = Call(),
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
    by_labels = recipe.largest_component == "if_single_in_labels"
    if recipe.is_empty or not (summary.metric_per_case or by_labels):
        mean = summary.foreground_mean.dice
        nothing = PostProcessing(
            operations=(), steps=(), foreground_mean_dice_before=mean, foreground_mean_dice_after=mean
        )
        write_text(output, nothing.to_json())
        return
    pairs = _pairs(summary, selection.parent / "predictions" / file.parent.name, dataset)
    single = _single(dataset, labels, workers) if by_labels else ()
    with progress_bar("post-processing", len(pairs)) as bar:
        cases = []
        for pieces in map_cases(partial(_cut, labels=labels, recipe=recipe), pairs, workers=workers):
            cases.append(pieces)
            bar.advance()
        found = search(cases, labels, recipe, single=single)
    write_text(output, found.to_json())
    _say(found, labels)


def _pairs(summary: Summary, predictions: Path, dataset: Path) -> list[tuple[Path, Path]]:
    """Label maps and references, which may have been moved since: the data set's own labels, if it has the case."""
    source = read_dataset(dataset.parent)
    ending = label_ending(source.file_ending)
    own = {f"{identifier}{ending}": file for identifier, file in source.references.items()}
    found = []
    for case in summary.metric_per_case:
        scored = Path(case.prediction_file)
        moved = predictions / scored.parent.name / scored.name
        reference = own.get(nfc(case.file_name), Path(case.reference_file))
        found.append((moved if moved.exists() else scored, reference))
    return found


def _single(dataset: Path, labels: Labels, workers: int) -> tuple[Target, ...]:
    """Targets that occur in the training labels, and have no more than one component in any of them."""
    files = [*read_dataset(dataset.parent).references.values()]
    with progress_bar("components of the labels", len(files)) as bar:
        most = [0] * len(labels.targets)
        for counts in map_cases(partial(_count, labels=labels), files, workers=workers):
            most = [max(pair) for pair in zip(most, counts, strict=True)]
            bar.advance()
    return tuple(target for target, n in zip(labels.targets, most, strict=True) if n == 1)


def _count(file: Path, *, labels: Labels) -> list[int]:
    label_map = read_labels(file, case=file.name)
    return [count_components(label_map, members(target)) for target in labels.targets]


def _say(found: PostProcessing, labels: Labels) -> None:
    names = dict(zip(map(target_key, labels.targets), labels.target_names, strict=True))
    for step in found.steps:
        if step.accepted:
            gain = f"Dice {step.dice_before:.4f} to {step.dice_after:.4f}"
            if math.isnan(step.dice_before):
                gain = "as in the training labels, without scores"
            console.print(
                f"{step.operation.description} of {names.get(step.target, 'the whole foreground')}: {gain}"
            )
    if not found.operations:
        console.print(f"no post-processing improves the Dice ({len(found.steps)} tried)")


def _cut(pair: tuple[Path, Path], *, labels: Labels, recipe: PostprocessingRecipe) -> Pieces:
    """The pieces of a case; the spacing counts only where volumes do."""
    prediction, reference = (read_labels(file, case=file.name) for file in pair)
    spacing_mm = (1.0, 1.0, 1.0)
    if recipe.remove_below_mm3:
        spacing_mm = read_geometry(pair[0], case=pair[0].name).spacing_mm
    return cut(prediction, reference, labels, spacing_mm, holes=recipe.fill_holes)
