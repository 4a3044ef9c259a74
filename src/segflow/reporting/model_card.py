"""The README.md of a model package: what is known of the model, for those it is handed on to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.labels import Labels
from segflow.contracts.model import ModelCard
from segflow.reporting.text import dice_text, listed, shape_text

__all__ = ["model_card_text"]

_CITATION = (
    "Isensee, F., Jaeger, P. F., Kohl, S. A. A., Petersen, J., Maier-Hein, K. H.: nnU-Net: a self-configuring "
    "method for deep learning-based biomedical image segmentation. Nature Methods 18, 203-211 (2021). "
    "doi:10.1038/s41592-020-01008-z"
)
_USE = (
    "Segmentation of images like those of the data set below: the same modality, body part and labels, and similar "
    "voxel sizes. For research; it is not a medical device. How well it does on images of other scanners, "
    "protocols or patients is not known: score it there (`segflow evaluate`) before it is used."
)


def model_card_text(
    card: ModelCard,
    description: Mapping[str, Any],
    labels: Labels,
    fingerprint: Fingerprint | None,
    *,
    has_spacing: bool,
) -> str:
    """The model card, in Markdown.

    Args:
        card: model.json of the package.
        description: Its dataset.json; `description`, `reference` and `licence` are quoted.
        labels: Likewise.
        fingerprint: Of the training cases, if it is known.
        has_spacing: Their spacing is stored, and not the default.
    """
    licence = description.get("licence") or description.get("license")
    cited = [f"- {text}" for text in (description.get("reference"), _CITATION) if text]
    sections = {
        "Intended use": [_USE, *_quoted(description.get("description"))],
        "Data": [
            _table(
                ("Of the training data", ""), _data_rows(description, fingerprint, has_spacing=has_spacing)
            )
        ],
        "Labels": [_table(("Name", "Values"), ((name, _values(target)) for name, target in labels.entries))],
        "Scores": list(_scores(card)),
        "Networks": [_table(("Of the model", ""), _network_rows(card))],
        "Licence": [str(licence or "Not stated; ask whoever gave you the model, and add it here.")],
        "Citation": ["\n".join(cited)],
    }
    title = f"# {card.dataset}, {card.selection.best.name}"
    text = [
        title,
        "A model package of segflow: `segflow predict --model FOLDER --input IMAGES --output LABELS`.",
    ]
    for heading, paragraphs in sections.items():
        text += [f"## {heading}", *paragraphs]
    return "\n\n".join(text) + "\n"


def _quoted(text: object) -> list[str]:
    return [f"The data set is described as: {text}"] if text else []


def _data_rows(
    description: Mapping[str, Any], fingerprint: Fingerprint | None, *, has_spacing: bool
) -> Iterator[tuple[str, object]]:
    yield "Channels", ", ".join(map(str, description["channel_names"].values()))
    yield "Cases", description["numTraining"]
    if fingerprint is None or not fingerprint.spacings:
        return
    spacings, shapes = np.array(fingerprint.spacings), np.array(fingerprint.shapes_after_crop)
    axes = "z, y, x"
    if (shapes[:, 0] == 1).all():
        spacings, shapes, axes = spacings[:, 1:], shapes[:, 1:], "y, x"
    if has_spacing:
        yield f"Voxel size ({axes}), median", f"{shape_text(np.median(spacings, axis=0))} mm"
        yield (
            "Voxel size, range",
            f"{shape_text(spacings.min(axis=0))} to {shape_text(spacings.max(axis=0))} mm",
        )
    yield f"Voxels ({axes}) after cropping, median", shape_text(np.median(shapes, axis=0))


def _values(target: int | tuple[int, ...]) -> str:
    return ", ".join(map(str, target)) if isinstance(target, tuple) else str(target)


def _scores(card: ModelCard) -> Iterator[str]:
    """Of all candidates, with their intervals, and what the post-processing did."""
    known = [entry for entry in card.selection.candidates if not math.isnan(entry.foreground_mean_dice)]
    if not known:
        yield "Not known: no case was held out, or the networks were imported without scores."
        return
    bootstrap = card.selection.bootstrap
    intervals = {found.name: found.interval for found in bootstrap.candidates} if bootstrap else {}
    rows = [
        (
            f"**{entry.name}**" if entry.name == card.selection.best.name else entry.name,
            dice_text(entry.foreground_mean_dice),
            " to ".join(map(dice_text, intervals.get(entry.name, (math.nan, math.nan)))),
        )
        for entry in known
    ]
    yield "Mean Dice over labels of training cases that the networks had not seen (cross-validation):"
    yield _table(("Candidate", "Dice", "95 % interval"), rows)
    if bootstrap:
        drawn = f"{bootstrap.patients or bootstrap.cases} {bootstrap.units}"
        yield f"Intervals are percentiles of {bootstrap.replicates} bootstrap samples of {drawn}."
    found = card.postprocessing
    if found.operations:
        yield (
            f"Post-processing ({listed(_operation_texts(card))}) changes it from "
            f"{dice_text(found.foreground_mean_dice_before)} to {dice_text(found.foreground_mean_dice_after)}."
        )


def _operation_texts(card: ModelCard) -> list[str]:
    return [
        f"{operation.description} of {listed(map(str, operation.labels))}"
        for operation in card.postprocessing.operations
    ]


def _network_rows(card: ModelCard) -> Iterator[tuple[str, object]]:
    yield "Configurations", ", ".join(card.configurations)
    if card.stages:
        yield "Previous stage", ", ".join(card.stages)
    yield "Folds", ", ".join(map(str, card.folds))
    yield "Recipe", card.recipe
    yield "Post-processing", "; ".join(_operation_texts(card)) or "none"
    yield "Packed with", ", ".join(f"{name} {number}" for name, number in card.versions.items())


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = [
        header,
        ["---"] * len(header),
        *([str(cell).replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
