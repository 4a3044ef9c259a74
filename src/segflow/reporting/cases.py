"""What is measured of every case, which values stand out, and what looks mislabelled."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import Image, LabelMap, SpacingMm
from segflow.contracts.labels import Labels, members
from segflow.metrics.overlap import confusion_matrix, nan_mean
from segflow.reporting.text import dice_text, number_text

__all__ = [
    "CaseFacts",
    "Measure",
    "foreground_medians",
    "measures",
    "outliers",
    "target_volumes",
    "unexpected",
    "wrong_way_round",
]

_FAR = 3.0  # interquartile ranges beyond the quartiles: Tukey's far-out values (1977)
_SAME = 0.01  # of the median: what differs by less is no outlier
_ROUNDING = 1e-4
_LEAST_CASES = 5
_ALIKE = 0.5  # Dice from which two label maps show the same thing
_LARGE = 0.25  # of a target's median volume: more than a few stray voxels
_AXES = ("along z", "along y", "along x")
_DIRECTIONS = ("from head to foot", "from front to back", "from left to right")


@dataclass(frozen=True)
class CaseFacts:
    """What is measured of one case.

    Attributes:
        case: Its identifier.
        spacing_mm: Along z, y, x; empty if the files say nothing of it.
        shape: Voxels along z, y, x of the file.
        intensities: Median over annotated voxels, per channel; NaN without annotation.
        volumes, predicted: Of each target in the reference and in the prediction, in `unit`; `predicted` is empty for a
            case without prediction.
        doubts: Sentences that say why it looks mislabelled.
    """

    case: str
    spacing_mm: tuple[float, ...]
    shape: tuple[int, ...]
    intensities: tuple[float, ...]
    volumes: tuple[float, ...]
    predicted: tuple[float, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Of its volumes, or areas if it is flat; without a spacing, they are counted."""
        if self.shape[0] == 1:
            return "mm\N{SUPERSCRIPT TWO}" if self.spacing_mm else "pixels"
        return "ml" if self.spacing_mm else "voxels"


@dataclass(frozen=True)
class Measure:
    """One number of every case, such as the spacing along z.

    Attributes:
        name: For people.
        unit: Empty if it has none.
        values: By case; NaN is left out.
        is_size: Positive, so that ratios matter, not differences.
    """

    name: str
    unit: str
    values: Mapping[str, float]
    is_size: bool = True

    @property
    def varies(self) -> bool:
        """Whether not all cases have the same value."""
        found = list(self.values.values())
        return bool(found) and max(found) - min(found) > _ROUNDING * abs(max(found, key=abs))


def measures(facts: Sequence[CaseFacts], labels: Labels, channels: Sequence[str]) -> tuple[Measure, ...]:
    """Spacings, sizes, intensities and volumes, over all cases; a flat image has no z."""
    is_flat = all(fact.shape[0] == 1 for fact in facts)
    has_spacing = all(fact.spacing_mm for fact in facts)
    axes = range(int(is_flat), 3)

    def over_cases(name: str, unit: str, column: Sequence[float], *, is_size: bool = True) -> Measure:
        found = {fact.case: float(value) for fact, value in zip(facts, column, strict=True)}
        known = {case: value for case, value in found.items() if not math.isnan(value)}
        return Measure(name, unit, known, is_size)

    spacings = [
        over_cases(f"spacing {_AXES[i]}", "mm", [fact.spacing_mm[i] for fact in facts])
        for i in (axes if has_spacing else ())
    ]
    sizes = [over_cases(f"size {_AXES[i]}", "voxels", [fact.shape[i] for fact in facts]) for i in axes]
    intensities = [
        over_cases(
            f"{name}, median of the annotated voxels", "", [f.intensities[i] for f in facts], is_size=False
        )
        for i, name in enumerate(channels)
    ]
    volumes = [
        over_cases(f"{name}, annotated", facts[0].unit, [fact.volumes[i] or math.nan for fact in facts])
        for i, name in enumerate(labels.target_names if len({fact.unit for fact in facts}) == 1 else ())
    ]
    return (*spacings, *sizes, *intensities, *volumes)


def outliers(measure: Measure) -> list[str]:
    """Cases far outside of the others (Tukey's far-out values: three interquartile ranges), the farthest first."""
    values = np.array(list(measure.values.values()))
    if len(values) < _LEAST_CASES:
        return []
    scaled = np.log(values) if measure.is_size else values
    first, median, third = np.percentile(scaled, (25, 50, 75))
    beyond = np.maximum(first - scaled, scaled - third)
    least = math.log1p(_SAME) if measure.is_size else _SAME * abs(median)
    found = [i for i in np.argsort(-beyond, kind="stable") if beyond[i] > max(_FAR * (third - first), least)]
    names = list(measure.values)
    return [names[i] for i in found]


def foreground_medians(image: Image, reference: LabelMap, labels: Labels) -> tuple[float, ...]:
    """Median intensity over annotated voxels, per channel; NaN without any."""
    inside = np.isin(reference, labels.foreground_values)
    if not inside.any():
        return (math.nan,) * len(image)
    return tuple(float(np.median(channel[inside])) for channel in image)


def target_volumes(
    label_map: LabelMap, labels: Labels, spacing_mm: SpacingMm | tuple[()]
) -> tuple[float, ...]:
    """Volume of each target in ml; area in mm2 if the map has one slice; voxels without a spacing."""
    is_flat = label_map.shape[0] == 1
    voxel = math.prod(spacing_mm[1:] if is_flat else spacing_mm) / (1 if is_flat or not spacing_mm else 1000)
    counts = np.zeros(1 + max(labels.values), np.int64)
    for plane in label_map:  # whole maps would need eight bytes per voxel
        counts += np.bincount(plane[plane < len(counts)], minlength=len(counts))
    return tuple(voxel * int(counts[list(members(target))].sum()) for target in labels.targets)


def wrong_way_round(
    reference: LabelMap, prediction: LabelMap, labels: Labels, *, is_oriented: bool
) -> tuple[str, ...]:
    """Why a reference looks swapped: with two classes exchanged, or mirrored, it would fit the prediction.

    Args:
        reference: (z, y, x).
        prediction: (z, y, x).
        labels: Classes or regions.
        is_oriented: Whether z, y, x are the axes of the body, as in a `View` with planes.

    Returns:
        Sentences; none if the reference fits as it is, or if it would fit in neither way.
    """
    dice = _dice_between(reference, prediction, labels)
    found = list(_exchanged(dice, labels))
    now = _mean_dice(dice)
    if now < _ALIKE:
        for axis, name in enumerate(_DIRECTIONS if is_oriented else _AXES):
            mirrored = np.flip(reference, axis)
            then = _mean_dice(_dice_between(mirrored, prediction, labels))
            if then > max(_ALIKE, 2 * now):
                found.append(
                    f"The reference looks mirrored {name}: if it were mirrored back, its mean Dice with the prediction "
                    f"would rise from {dice_text(now)} to {dice_text(then)}."
                )
    return tuple(found)


def unexpected(facts: Sequence[CaseFacts], labels: Labels) -> list[CaseFacts]:
    """Doubt cases in which a target is not annotated, but predicted as something of its usual volume.

    Returns:
        The cases, with these doubts behind those that they have.
    """
    annotated = [[fact.volumes[i] for fact in facts if fact.volumes[i]] for i in range(len(labels.targets))]
    usual = [float(np.median(volumes or [math.inf])) for volumes in annotated]
    found = []
    for fact in facts:
        doubts = [
            f"'{name}' is not annotated, but {number_text(predicted)} {fact.unit} of it are predicted; where it is "
            f"annotated, it has {number_text(median)} {fact.unit} (median)."
            for name, predicted, volume, median in zip(
                labels.target_names, fact.predicted, fact.volumes, usual, strict=False
            )
            if not volume and predicted > _LARGE * median
        ]
        found.append(replace(fact, doubts=(*fact.doubts, *doubts)))
    return found


def _dice_between(reference: LabelMap, prediction: LabelMap, labels: Labels) -> NDArray[np.float64]:
    """Dice of every foreground value of the reference (row) with every one of the prediction; NaN: there is neither."""
    counts = confusion_matrix(reference, prediction, labels)
    sizes = counts.sum(axis=1)[:, None] + counts.sum(axis=0)[None]
    dice = np.full(counts.shape, np.nan)
    np.divide(2 * counts, sizes, out=dice, where=sizes > 0)
    return dice[1:, 1:]


def _mean_dice(dice: NDArray[np.float64]) -> float:
    return nan_mean(np.diag(dice))


def _exchanged(dice: NDArray[np.float64], labels: Labels) -> Iterator[str]:
    """Pairs of classes that fit each other better than themselves."""
    names = {target: name for name, target in labels.entries}
    for i, j in np.argwhere(np.triu(np.minimum(dice, dice.T) > _ALIKE, k=1)):
        now, then = (dice[i, i], dice[j, j]), (dice[j, i], dice[i, j])
        if max(now) < min(then):
            one, other = (names.get(int(k) + 1, f"label {k + 1}") for k in (i, j))
            yield (
                f"'{one}' and '{other}' look exchanged: if they were exchanged in the reference, their Dice would rise "
                f"from {dice_text(now[0])} and {dice_text(now[1])} to {dice_text(then[0])} and {dice_text(then[1])}."
            )
