"""Rows of the report's tables, from contracts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.plan import Architecture, Configuration
from segflow.contracts.scores import CaseScores, Resampled
from segflow.metrics.overlap import target_key
from segflow.reporting.data import ReportData
from segflow.reporting.figures import Scale, Strip, class_colour, common_scale, strip_of
from segflow.reporting.text import Spread, mean_dice, spreads

__all__ = [
    "CandidateRow",
    "CaseRow",
    "ClassRow",
    "Range",
    "StageRow",
    "candidate_rows",
    "case_name",
    "case_rows",
    "class_rows",
    "network_rows",
    "ranges",
]


@dataclass(frozen=True)
class ClassRow:
    """One target in the first table."""

    spread: Spread
    colour: str
    strip: Strip


@dataclass(frozen=True)
class CandidateRow:
    """One candidate, with its mean Dice per target where it is known.

    Attributes:
        name: Its name.
        score: Mean Dice over targets.
        per_target: Mean Dice over cases; NaN where it is not known.
        is_best: It was chosen.
        resampled: How it fared in the bootstrap, if there was one.
    """

    name: str
    score: float
    per_target: tuple[float, ...]
    is_best: bool
    resampled: Resampled | None = None


@dataclass(frozen=True)
class CaseRow:
    """One case: Dice per target, and their mean."""

    name: str
    dice: tuple[float, ...]
    mean: float


@dataclass(frozen=True)
class StageRow:
    """One resolution of a U-Net; `shape` is that of its feature maps."""

    shape: tuple[int, ...]
    features: int
    stride: tuple[int, ...]
    kernel: tuple[int, ...]
    encoder_blocks: int
    decoder_blocks: int | None


@dataclass(frozen=True)
class Range:
    """Smallest, median and largest value along one axis."""

    low: float
    median: float
    high: float


def case_name(case: CaseScores, file_ending: str) -> str:
    """The identifier of a case.

    Args:
        case: Its scores.
        file_ending: With its dot.

    Returns:
        The name of the reference file without the ending.
    """
    return PurePosixPath(case.reference_file).name.removesuffix(file_ending)


def class_rows(data: ReportData) -> tuple[tuple[ClassRow, ...], Scale]:
    """Mean, spread and plot of each target.

    Args:
        data: Of the report.

    Returns:
        Rows in the order of the targets, and the plots' scale.
    """
    cases = data.summary.metric_per_case
    names = [case_name(case, data.file_ending) for case in cases]
    columns = [[case.metrics[target_key(t)].dice for case in cases] for t in data.labels.targets]
    scale = common_scale([dice for column in columns for dice in column])
    strips = [strip_of(list(zip(names, column, strict=True)), scale) for column in columns]
    rows = zip(spreads(data.summary, data.labels), strips, strict=True)
    return tuple(ClassRow(spread, class_colour(i), strip) for i, (spread, strip) in enumerate(rows)), scale


def candidate_rows(data: ReportData) -> tuple[CandidateRow, ...]:
    """Scores of all candidates.

    Args:
        data: Of the report.

    Returns:
        Best score first; those without a score last.
    """
    keys = [target_key(target) for target in data.labels.targets]
    bootstrap = data.selection.bootstrap
    resampled = {} if bootstrap is None else {found.name: found for found in bootstrap.candidates}
    rows = []
    for candidate in data.selection.candidates:
        summary = data.candidate_summaries.get(candidate.name)
        per_target = tuple(math.nan if summary is None else summary.mean[key].dice for key in keys)
        rows.append(
            CandidateRow(
                name=candidate.name,
                score=candidate.foreground_mean_dice,
                per_target=per_target,
                is_best=candidate.name == data.selection.best.name,
                resampled=resampled.get(candidate.name),
            )
        )
    return tuple(sorted(rows, key=lambda row: (math.isnan(row.score), -row.score, not row.is_best)))


def case_rows(data: ReportData) -> tuple[CaseRow, ...]:
    """Dice of every case.

    Args:
        data: Of the report.

    Returns:
        Worst mean first, since these are the ones to look at.
    """
    keys = [target_key(target) for target in data.labels.targets]
    rows = [
        CaseRow(case_name(c, data.file_ending), tuple(c.metrics[key].dice for key in keys), mean_dice(c))
        for c in data.summary.metric_per_case
    ]
    return tuple(sorted(rows, key=lambda row: (math.isnan(row.mean), row.mean, row.name)))


def network_rows(configuration: Configuration) -> tuple[StageRow, ...]:
    """The stages of a configuration's U-Net.

    Args:
        configuration: Of the plan.

    Returns:
        Full resolution first, bottleneck last.

    Source: method.md section 11.
    """
    net: Architecture = configuration.architecture
    total = np.cumprod(np.array(net.strides), axis=0)
    decoder: list[int | None] = [*net.decoder_blocks, None]
    return tuple(
        StageRow(
            shape=tuple(int(v) for v in np.array(configuration.patch_shape) // total[stage]),
            features=net.features[stage],
            stride=net.strides[stage],
            kernel=net.kernels[stage],
            encoder_blocks=net.encoder_blocks[stage],
            decoder_blocks=decoder[stage],
        )
        for stage in range(net.n_stages)
    )


def ranges(fingerprint: Fingerprint) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """Range of spacings and of shapes over cases.

    Args:
        fingerprint: Of the data set.

    Returns:
        Spacings in millimetres, then shapes in voxels, each along z, y, x.
    """
    return _per_axis(fingerprint.spacings), _per_axis(fingerprint.shapes_after_crop)


def _per_axis(rows: Sequence[Sequence[float]]) -> tuple[Range, ...]:
    array = np.asarray(rows, dtype=np.float64)
    low, median, high = array.min(axis=0), np.median(array, axis=0), array.max(axis=0)
    return tuple(Range(float(a), float(b), float(c)) for a, b, c in zip(low, median, high, strict=True))
