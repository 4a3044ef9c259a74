"""Scores of one case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segflow.contracts.arrays import LabelMap, SpacingMm
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels, Target
from segflow.contracts.scores import CaseScores
from segflow.metrics import confusion_matrix, members, overlap_metrics, target_counts, target_key

__all__ = ["OVERLAP_METRICS", "SURFACE_METRICS", "Surfaces", "score_case"]

#: Always computed.
OVERLAP_METRICS = ("dice", "iou")
#: Computed where they are asked for.
SURFACE_METRICS = ("hd95", "assd", "nsd")


@dataclass(frozen=True)
class Surfaces:
    """Which surface distances are asked for.

    Attributes:
        metrics: Names, of `SURFACE_METRICS`.
        tolerance_mm: Of the normalised surface Dice.
        spacing_mm: Of the case, along z, y, x.
    """

    metrics: tuple[str, ...]
    tolerance_mm: float
    spacing_mm: SpacingMm


def score_case(
    prediction: LabelMap,
    reference: LabelMap,
    labels: Labels,
    *,
    prediction_file: str,
    reference_file: str,
    surfaces: Surfaces | None = None,
) -> CaseScores:
    """Compare a predicted with an annotated label map, target by target.

    Voxels whose reference is the ignore label are left out. A target in neither map has Dice and IoU NaN;
    one that is only predicted has 0.

    Args:
        prediction: Original space, (z, y, x).
        reference: The same shape.
        labels: Their vocabulary; its targets are scored.
        prediction_file: Where the prediction came from.
        reference_file: Where the reference came from.
        surfaces: Distances to measure as well.

    Returns:
        Metrics per target, sorted by key, and the two file names.

    Raises:
        PredictionError: The shapes differ.

    Source: method.md section 20; distances `segflow.metrics.surface`.
    """
    if prediction.shape != reference.shape:
        raise PredictionError(
            f"{prediction_file} has shape {prediction.shape}, but its reference {reference_file} has "
            f"{reference.shape}; predict this case again from the image that the reference belongs to"
        )
    confusion = confusion_matrix(reference, prediction, labels)
    metrics = {}
    for target in labels.targets:
        found = overlap_metrics(target_counts(confusion, target))
        if surfaces is not None:
            found = found.model_copy(update=_distances(prediction, reference, target, labels, surfaces))
        metrics[target_key(target)] = found
    return CaseScores(
        metrics=dict(sorted(metrics.items())),
        prediction_file=prediction_file,
        reference_file=reference_file,
    )


def _distances(
    prediction: LabelMap, reference: LabelMap, target: Target, labels: Labels, surfaces: Surfaces
) -> dict[str, float]:
    from segflow.metrics.surface import (  # noqa: PLC0415  needs scipy, which most evaluations do without
        SurfaceDistances,
        assd_mm,
        hd95_mm,
        nsd,
        surface_distances,
    )

    kinds: dict[str, Callable[[SurfaceDistances], float]] = {
        "hd95": hd95_mm,
        "assd": assd_mm,
        "nsd": lambda found: nsd(found, surfaces.tolerance_mm),
    }
    values = members(target)
    found = surface_distances(
        np.isin(prediction, values),
        np.isin(reference, values),
        surfaces.spacing_mm,
        None if labels.ignore is None else reference == labels.ignore,
    )
    return {name: kinds[name](found) for name in surfaces.metrics}
