"""Errors that a user can fix. A message says what is wrong, where (case and file), and what to do."""

from __future__ import annotations

__all__ = [
    "ConfigurationError",
    "DatasetError",
    "Interrupted",
    "MemoryShortageError",
    "PlanError",
    "PredictionError",
    "SegflowError",
    "TrainingError",
]


class SegflowError(Exception):
    """Base of all errors that a user can fix; shown without a traceback."""


class Interrupted(Exception):  # noqa: N818  nothing is wrong
    """A stop was requested, and the work so far has been saved."""


class DatasetError(SegflowError):
    """Something is wrong with the raw data set: a file, a label, a geometry."""


class MemoryShortageError(DatasetError):
    """A case needs more memory than there is now; it may fit alone."""


class ConfigurationError(SegflowError):
    """Something is wrong with the workflow's configuration or with a command's arguments."""


class PlanError(SegflowError):
    """A fingerprint, plan or folds file cannot be used."""


class TrainingError(SegflowError):
    """Training cannot start or cannot go on."""


class PredictionError(SegflowError):
    """A model package cannot be used, or a case cannot be predicted."""
