"""What is measured of a data set, in which units and with which tolerances, and the sentences that say so."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segflow.contracts.arrays import SpacingMm
from segflow.contracts.assessment import ASSESSED, EvaluationConfig, Measure
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.labels import Labels
from segflow.metrics.overlap import target_key

__all__ = ["Measuring", "decide_measures"]

#: The customary tolerance of the normalised surface Dice.
_TOLERANCE_MM = 2.0
#: In mm, which mean nothing where no spacing is stored.
_DISTANCES = ("nsd", "hd95", "assd")


@dataclass(frozen=True)
class Measuring:
    """What is measured, and how.

    Attributes:
        measures: In the order of `ASSESSED`.
        tolerances_mm: Of the normalised surface Dice, by key of the target.
        unit: Of the sizes of lesions.
        notes: What the reader should know: tolerances, and what is not measured and why.
    """

    measures: tuple[Measure, ...]
    tolerances_mm: Mapping[str, float]
    unit: str
    notes: tuple[str, ...]


def decide_measures(
    wanted: EvaluationConfig,
    labels: Labels,
    grids: Sequence[tuple[Sequence[int], SpacingMm]],
    *,
    has_spacing: bool,
) -> Measuring:
    """Decide what is measured.

    Args:
        wanted: By the configuration.
        labels: Classes or regions.
        grids: Shape and spacing of each case, (z, y, x).
        has_spacing: The spacing of every image is stored.

    Raises:
        ConfigurationError: A tolerance is given for a class that does not exist.
    """
    asked, automatic = set(wanted.metrics), wanted.metrics == "auto"
    given = _given_tolerances(wanted, labels)
    flat = bool(grids) and all(1 in shape for shape, _ in grids)
    notes, left_out = [], set[str]()
    if automatic:
        if not has_spacing:
            left_out |= {*_DISTANCES, "volume"}
            notes.append("The images' spacing is not stored, so neither distances nor volumes are measured.")
        elif flat:
            left_out.add("volume")
            notes.append("The images are flat, so they have no volumes.")
    elif not has_spacing and {*_DISTANCES, "volume"} & asked:
        notes.append("The images' spacing is not stored: a voxel is taken to be 1 mm wide.")
    measures = tuple(one for one in ASSESSED if one not in left_out and (automatic or one in asked))
    default = _default_tolerance(grids)
    tolerances = {key: given.get(key, default) for key in map(target_key, labels.targets)}
    if "nsd" in measures:
        notes.append(_on_tolerances(tolerances, given, labels))
    units = ("mm2", "mm3") if has_spacing else ("pixels", "voxels")
    return Measuring(measures, tolerances, units[0] if flat else units[1], tuple(notes))


def _given_tolerances(wanted: EvaluationConfig, labels: Labels) -> dict[str, float]:
    """By key of the target."""
    keys = dict(zip(labels.target_names, map(target_key, labels.targets), strict=True))
    mm = wanted.nsd_tolerance_mm
    if not isinstance(mm, dict):
        return {} if mm is None else dict.fromkeys(keys.values(), mm)
    if unknown := sorted(mm.keys() - keys.keys()):
        raise ConfigurationError(
            f"evaluation.nsd_tolerance_mm: there is no class '{unknown[0]}'; there are {', '.join(keys)}"
        )
    return {keys[name]: value for name, value in mm.items()}


def _default_tolerance(grids: Sequence[tuple[Sequence[int], SpacingMm]]) -> float:
    """2 mm, or the median over cases of the finest spacing if it is coarser: nothing finer can be told apart."""
    finest = [
        min((mm for size, mm in zip(shape, spacing, strict=True) if size > 1), default=min(spacing))
        for shape, spacing in grids
    ]
    return max(_TOLERANCE_MM, statistics.median(finest)) if finest else _TOLERANCE_MM


def _on_tolerances(tolerances: Mapping[str, float], given: Mapping[str, float], labels: Labels) -> str:
    def reason(key: str) -> str:
        if key in given:
            return "as configured"
        return (
            "the default"
            if tolerances[key] == _TOLERANCE_MM
            else "the images' finest spacing, coarser than 2 mm"
        )

    keys = list(map(target_key, labels.targets))
    said = {key: f"{tolerances[key]:.4g} mm ({reason(key)})" for key in keys}
    if len(set(said.values())) == 1:
        return f"The tolerance of NSD is {said[keys[0]]}."
    each = ", ".join(f"{name} {said[key]}" for name, key in zip(labels.target_names, keys, strict=True))
    return f"The tolerance of NSD by class: {each}."
