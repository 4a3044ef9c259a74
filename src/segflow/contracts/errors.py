"""Errors that a user can fix. A message says what is wrong, where (case and file), and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Final

__all__ = [
    "MAX_ERRORS_SHOWN",
    "ConfigurationError",
    "DatasetError",
    "Interrupted",
    "MemoryShortageError",
    "PlanError",
    "PredictionError",
    "SegflowError",
    "TrainingError",
    "first_of",
    "sentence_of",
]

MAX_ERRORS_SHOWN: Final = 10

_FULL, _PERMISSION = "make room, and call again", "change its permissions, or name another folder"
_REMEDIES: Final = {
    0: "see whether the disk is full, and call again",
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "allow larger files (ulimit -f, or another file system), and call again",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: _PERMISSION,
    errno.ENOENT: "see whether it was moved or removed",
    errno.ENOTDIR: "a part of this path is a file; remove that, or name another folder",
    errno.EEXIST: "a file is in the way; remove it, or name another folder",
    errno.EISDIR: "it is a folder; remove it, or name a file",
    errno.ELOOP: "remove the link",
    errno.EMFILE: "allow more open files (ulimit -n), or use fewer --workers",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ENOMEM: "use fewer --workers, or a machine with more memory",
    errno.EAGAIN: "allow more processes (ulimit -u), or use fewer --workers",
}


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


def sentence_of(problem: OSError | MemoryError) -> str:
    """What a disk, the memory or the system refused, with the file, and what to do."""
    if isinstance(problem, MemoryError):
        reason = str(problem) or "there is not enough memory"
        return f"{reason}; {_REMEDIES[errno.ENOMEM]}"
    file = f"{os.fsdecode(problem.filename)}: " if isinstance(problem.filename, str | bytes) else ""
    remedy = _REMEDIES.get(problem.errno or 0, "see to the disk or network, and call again")
    return f"{file}{problem.strerror or problem}; {remedy}"


def first_of(lines: Sequence[str], most: int) -> list[str]:
    """Some of the lines, and how many there are beyond."""
    hidden = len(lines) - most
    return [*lines[:most], *([f"... and {hidden} more"] if hidden > 0 else [])]
