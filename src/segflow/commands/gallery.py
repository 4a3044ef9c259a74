"""Every case of an experiment, read once: pictures and measurements for its report."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np

from segflow.commands.outcome import Outcome
from segflow.commands.raw_cases import for_each_case
from segflow.contracts.case import Case
from segflow.contracts.labels import Labels
from segflow.contracts.scores import CaseScores
from segflow.contracts.spelling import nfc
from segflow.images.cases import read_image, read_labels
from segflow.images.formats import has_orientation, has_spacing, label_ending
from segflow.reporting.cases import (
    CaseFacts,
    foreground_medians,
    measures,
    target_volumes,
    unexpected,
    wrong_way_round,
)
from segflow.reporting.data import Gallery, Overlay, Picture
from segflow.reporting.overlay import (
    View,
    cut_slice,
    draw_overlay,
    draw_slices,
    draw_thumbnail,
    main_axis,
    view_of,
)
from segflow.reporting.text import SHOWN_RANKS, mean_dice, representative_cases, worst_targets

__all__ = ["make_gallery"]

_DPI: Final = 110  # of pictures of which several stand side by side
#: If all pictures together are no larger, they are part of the page, which then needs no folder beside it.
_EMBEDDED_BYTES: Final = 4_000_000


@dataclass(frozen=True)
class _Look:
    """One case: what was measured, its thumbnail, maybe large pictures with what they show, and slices to scroll."""

    facts: CaseFacts
    thumbnail: bytes
    large: tuple[tuple[bytes, str], ...] = ()
    slices: tuple[bytes, int] = (b"", 0)


def make_gallery(
    outcome: Outcome, cases: Sequence[Case], *, beside: str, large: int, workers: int
) -> tuple[Gallery, dict[str, bytes]]:
    """Read all cases, a few at a time, and draw them.

    Args:
        outcome: The experiment.
        cases: Of its data set; those that were not predicted are shown without a prediction.
        beside: Name of the folder beside the page.
        large: Number of cases shown large of each group: the best, around the median, the worst.
        workers: Processes.

    Returns:
        The gallery, and the pictures by their path in the folder beside the page: none where they are part of the page.

    Raises:
        DatasetError: Cases that cannot be read.
    """
    ending = label_ending(str(outcome.description["file_ending"]))
    scores = {nfc(s.file_name.removesuffix(ending)): s for s in outcome.summary.metric_per_case}
    names = {s.file_name: case for case, s in scores.items()}
    chosen = {names[s.file_name]: rank for rank, s in representative_cases(outcome.summary, large)}
    work = partial(
        _look, folder=outcome.folder / "final", labels=outcome.labels, all_scores=scores, large=chosen
    )
    looks = for_each_case("report", work, cases, workers=workers)
    facts = unexpected([look.facts for look in looks.values()], outcome.labels)

    pictures = {f"pictures/{case}.jpg": look.thumbnail for case, look in looks.items()}
    pictures |= {
        f"pictures/large/{case}_{i}.jpg": jpeg
        for case, look in looks.items()
        for i, (jpeg, _) in enumerate(look.large)
    }
    pictures |= {
        f"pictures/large/{case}_slices.jpg": look.slices[0] for case, look in looks.items() if look.slices[1]
    }
    is_embedded = sum(map(len, pictures.values())) <= _EMBEDDED_BYTES
    sources = {
        name: f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
        if is_embedded
        else quote(f"{beside}/{name}")
        for name, jpeg in pictures.items()
    }
    gallery = Gallery(
        facts=tuple(facts),
        measures=measures(
            facts, outcome.labels, [str(name) for name in outcome.description["channel_names"].values()]
        ),
        thumbnails={
            case: Picture(
                sources[f"pictures/{case}.jpg"], "image, reference" + ", prediction" * (case in scores)
            )
            for case in looks
        },
        overlays=tuple(
            Overlay(
                case,
                rank,
                mean_dice(scores[case]),
                tuple(
                    Picture(sources[f"pictures/large/{case}_{i}.jpg"], note)
                    for i, (_, note) in enumerate(looks[case].large)
                ),
                sources.get(f"pictures/large/{case}_slices.jpg", ""),
                looks[case].slices[1],
            )
            for case, rank in chosen.items()
        ),
    )
    return gallery, {} if is_embedded else pictures


def _look(
    case: Case,
    *,
    folder: Path,
    labels: Labels,
    all_scores: Mapping[str, CaseScores],
    large: Mapping[str, str],
) -> _Look:
    """One case, whose label map is in the folder if it has scores, and whose pictures are large if it has a rank."""
    image, geometry = read_image(case.images, case=case.identifier)
    scores = all_scores.get(case.identifier)
    reference, prediction = (
        read_labels(file, case=case.identifier) if file else np.zeros(geometry.shape, np.int16)
        for file in (case.label, folder / scores.file_name if scores else None)
    )
    spacing_mm = geometry.spacing_mm if has_spacing(case.images[0]) else ()
    view = view_of(image, prediction, reference, geometry, has_orientation=has_orientation(case.images[0]))
    facts = CaseFacts(
        case.identifier,
        spacing_mm,
        geometry.shape,
        foreground_medians(image, reference, labels),
        target_volumes(reference, labels, spacing_mm),
    )
    thumbnail = draw_thumbnail(cut_slice(view, labels), labels, is_predicted=scores is not None)
    if not scores:
        return _Look(facts, thumbnail)
    facts = replace(
        facts,
        predicted=target_volumes(np.where(reference == labels.ignore, 0, prediction), labels, spacing_mm),
        doubts=wrong_way_round(view.reference, view.prediction, labels, is_oriented=bool(view.planes)),
    )
    rank = large.get(case.identifier, "")
    pictures = _large_pictures(view, labels, scores) if rank else ()
    can_scroll = rank in SHOWN_RANKS and view.reference.shape[main_axis(view)] > 1
    return _Look(facts, thumbnail, pictures, draw_slices(view, labels) if can_scroll else (b"", 0))


def _large_pictures(view: View, labels: Labels, scores: CaseScores) -> tuple[tuple[bytes, str], ...]:
    """The largest cross-sections of the worst targets, along each axis."""
    main = main_axis(view)
    axes = [main] if view.reference.shape[0] == 1 else [main, *(axis for axis in range(3) if axis != main)]
    found = []
    for number in worst_targets(scores, labels):
        target, name = labels.targets[number], labels.target_names[number]
        for axis in axes:
            pair = cut_slice(view, labels, axis=axis, target=target)
            jpeg = draw_overlay(pair, labels, on_top=target, dpi=_DPI, kind="jpg")
            found.append((jpeg, ", ".join(filter(None, (name, pair.note)))))
    return tuple(found)
