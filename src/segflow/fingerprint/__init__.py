"""Stage: what a data set is like, measured case by case and pooled."""

from segflow.fingerprint.extract import (
    CaseFingerprint,
    draw_intensities,
    measure_case,
    pool_cases,
    samples_per_case,
)
from segflow.fingerprint.integrity import check_label_values
from segflow.fingerprint.statistics import DrawnIntensities

__all__ = [
    "CaseFingerprint",
    "DrawnIntensities",
    "check_label_values",
    "draw_intensities",
    "measure_case",
    "pool_cases",
    "samples_per_case",
]
