"""Stage: what a data set is like, measured case by case and pooled."""

from segflow.fingerprint.extract import CaseFingerprint, describe_case, pool_cases, samples_per_case
from segflow.fingerprint.integrity import check_label_values

__all__ = ["CaseFingerprint", "check_label_values", "describe_case", "pool_cases", "samples_per_case"]
