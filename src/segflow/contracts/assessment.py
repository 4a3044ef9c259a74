"""What `segflow assess` measures beyond Dice: distances, volumes, lesions, confusion and calibration. Nothing is chosen
by it. Definitions are in `segflow.metrics`.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from segflow.contracts.codec import Amount, Contract

__all__ = [
    "ASSESSED",
    "Agreement",
    "AssessedCase",
    "AssessedClass",
    "Assessment",
    "Bin",
    "Calibration",
    "CaseMeasures",
    "Estimate",
    "EvaluationConfig",
    "LesionSizes",
    "LesionSummary",
    "Measure",
    "SizeGroup",
    "Table",
    "Values",
]

#: What can be measured.
Measure = Literal["dice", "nsd", "hd95", "assd", "volume", "lesions", "confusion", "calibration"]
ASSESSED: tuple[Measure, ...] = get_args(Measure)


class EvaluationConfig(Contract):
    """What is measured of the chosen model; nothing is chosen by it.

    Attributes:
        metrics: auto is all of them, as far as the images have a spacing and three axes.
        nsd_tolerance_mm: For all classes, or by class; None: 2, or the images' finest spacing if it is coarser.
    """

    metrics: Literal["auto"] | Annotated[tuple[Measure, ...], Field(min_length=1)] = "auto"
    nsd_tolerance_mm: Amount | dict[str, Amount] | None = None


#: Target to name to number.
Values = dict[str, dict[str, float]]
#: The table of `segflow.metrics.calibration`.
Table = tuple[tuple[tuple[int, int, int], ...], ...]


class LesionSizes(Contract):
    """The lesions of one class in one case.

    Attributes:
        reference: Size of each, mm3 (mm2 in a flat image).
        found: Whether each of these has a match.
        false_positives: Size of each predicted one without a match.
    """

    reference: tuple[float, ...] = ()
    found: tuple[bool, ...] = ()
    false_positives: tuple[float, ...] = ()


class CaseMeasures(Contract):
    """What is measured in one case; noted in the journal, and summed up by `segflow.evaluation.assessment`.

    Attributes:
        values: Of the final label map, as in `AssessedCase`.
        configurations: Metrics of each configuration's label map.
        lesions: By target; of the final label map.
        confusion: Voxels by value in the reference and in the prediction.
        calibration: Empty without probabilities.
    """

    values: Values
    configurations: dict[str, Values]
    lesions: dict[str, LesionSizes]
    confusion: tuple[tuple[int, ...], ...]
    calibration: Table = ()


class Estimate(Contract):
    """A number with its uncertainty: a mean over cases, or a ratio of sums over cases.

    Attributes:
        value: NaN where it is defined in no case.
        interval: 2.5th and 97.5th percentile over resampled sets of cases.
        n: Cases in which it is defined.
        std: Sample standard deviation over cases; NaN for fewer than two, and for ratios of sums.
        quartiles: Over cases; empty for ratios of sums.
    """

    value: float
    interval: tuple[float, float]
    n: int
    std: float
    quartiles: tuple[float, ...] = ()


class Agreement(Contract):
    """Bland-Altman: predicted less reference volume, ml.

    Attributes:
        n: Cases with the class in prediction or reference.
        bias: Mean difference.
        limits: Limits of agreement, bias -/+ 1.96 standard deviations of the differences.
    """

    n: int
    bias: float
    limits: tuple[float, float]


class SizeGroup(Contract):
    """Lesions of some range of sizes; groups are bounded by the quartiles of the reference's lesions.

    Attributes:
        low, high: Bounds, the lower one included; None is no bound.
        lesions: Of the reference.
        found: Those of them that are found.
        detection_rate: Their share; NaN without any.
        false_positives: Predicted lesions of this size without a match.
        false_positives_per_case: Over all cases.
    """

    low: float | None
    high: float | None
    lesions: int
    found: int
    detection_rate: float
    false_positives: int
    false_positives_per_case: float


class LesionSummary(Contract):
    """Lesions of all cases together.

    Attributes:
        unit: Of sizes: "mm3", "mm2" in flat images, "voxels" or "pixels" without a spacing.
    """

    cases: int
    lesions: int
    predicted: int
    detection_rate: Estimate
    precision: Estimate
    f1: Estimate
    false_positives_per_case: Estimate
    unit: str
    sizes: tuple[SizeGroup, ...]


class Bin(Contract):
    """Voxels with a probability above `low` up to `high`.

    Attributes:
        probability: Their mean probability.
        share: Of them, in the reference's class.
    """

    low: float
    high: float
    voxels: int
    probability: float
    share: float


class Calibration(Contract):
    """Reliability of one class's probabilities.

    Attributes:
        error: Expected calibration error over voxels of a probability above 0.
        error_with_zero: The same over all voxels.
        bins: Those that have voxels.
    """

    error: Estimate
    error_with_zero: float
    bins: tuple[Bin, ...]


class AssessedClass(Contract):
    """A class or region over all cases.

    Attributes:
        target: Its key in summary.json.
        nsd_tolerance_mm: None where nsd is not measured.
        metrics: By name.
        folds: Means by fold and metric.
        configurations: By configuration and metric, before post-processing.
        lesions: None where the class mostly has one component.
    """

    target: str
    name: str
    nsd_tolerance_mm: float | None
    metrics: dict[str, Estimate]
    folds: dict[str, dict[str, float]]
    configurations: dict[str, dict[str, Estimate]]
    agreement: Agreement | None
    lesions: LesionSummary | None
    calibration: Calibration | None


class AssessedCase(Contract):
    """One case: by target and name, its metrics, volumes in ml, and lesions found, missed and falsely predicted."""

    case: str
    fold: str
    values: Values


class Assessment(Contract):
    """assessment.json.

    Attributes:
        model: The chosen candidate.
        measures: Those that were measured.
        notes: Sentences on what was not measured, and why; and on units and tolerances.
        replicates, seed: Of the bootstrap.
        values: Names of label values, background first.
        confusion: Voxels by value in the reference (row) and in the prediction (column); empty if not measured.
    """

    model: str
    measures: tuple[Measure, ...]
    notes: tuple[str, ...]
    replicates: int
    seed: int
    classes: tuple[AssessedClass, ...]
    cases: tuple[AssessedCase, ...]
    values: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
