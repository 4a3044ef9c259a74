"""Going through the raw cases of a data set, and not doing again what is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

from segflow.commands.console import logger, progress_bar
from segflow.contracts.artefacts import CheckedCase, CheckReport
from segflow.contracts.case import Case
from segflow.contracts.errors import DatasetError, MemoryShortageError
from segflow.images.formats import digest_of_image
from segflow.processes.pool import map_cases
from segflow.storage.files import read_contract
from segflow.workflow.chunks import chunk_of

__all__ = [
    "MAX_ERRORS_SHOWN",
    "CaseDigests",
    "Fault",
    "attempt",
    "cases_of_chunk",
    "checked_cases",
    "first_of",
    "for_each_case",
    "refuse",
    "warn",
]

R = TypeVar("R")
T = TypeVar("T")

MAX_ERRORS_SHOWN = 10
MAX_WARNINGS_SHOWN = 10


@dataclass(frozen=True)
class CaseDigests:
    """Digests of the files of a case.

    Attributes:
        folder: Of the data set.
        cases: Those of them that have been checked: their files need not be read again.
    """

    folder: Path
    cases: Sequence[CheckedCase]

    @cached_property
    def _checked(self) -> dict[str, str]:
        return {name: digest for case in self.cases for name, digest in (case.images | case.label).items()}

    def of(self, case: Case) -> tuple[str, ...]:
        """One per file, images first."""
        files = [*case.images, *([case.label] if case.label else [])]
        names = [os.path.relpath(file, self.folder) for file in files]
        return tuple(self._checked.get(name) or digest_of_image(self.folder / name) for name in names)


def checked_cases(reports: Sequence[Path]) -> list[CheckedCase]:
    """All cases that reports of the check name."""
    return [case for report in reports for case in read_contract(CheckReport, report).cases]


def cases_of_chunk(cases: Sequence[Case], chunk: tuple[int, int]) -> tuple[Case, ...]:
    """Some of a data set's cases, maybe none; those of chunk (index, count)."""
    index, count = chunk
    return tuple(case for case in cases if chunk_of(case.identifier, count) == index)


def for_each_case(
    title: str, work: Callable[[Case], R], cases: Sequence[Case], *, workers: int
) -> dict[str, R]:
    """Do something with every case; a case that fails stops no other, and is named at the end.

    Cases that do not fit into memory beside the others are tried again, one at a time.

    Args:
        title: For the progress bar.
        work: Picklable.
        cases: Of the data set.
        workers: Processes.

    Returns:
        Identifier to result.

    Raises:
        DatasetError: Of all cases that failed, up to ten in words.
    """
    outcomes: dict[str, R | Fault] = {}
    with progress_bar(title, len(cases)) as bar:
        tried = partial(attempt, work)
        for case, outcome in zip(cases, map_cases(tried, cases, workers=workers, if_died=_died), strict=True):
            outcomes[case.identifier] = outcome
            bar.advance(0 if workers > 1 and _is_short(outcome) else 1)
        again = [case for case in cases if workers > 1 and _is_short(outcomes[case.identifier])]
        for case, outcome in zip(again, map_cases(tried, again, workers=1, if_died=_died), strict=True):
            outcomes[case.identifier] = outcome
            bar.advance()
    refuse([outcome.message for outcome in outcomes.values() if isinstance(outcome, Fault)])
    return {name: outcome for name, outcome in outcomes.items() if not isinstance(outcome, Fault)}


def refuse(faults: Sequence[str]) -> None:
    """Raise a DatasetError of all faults, if there are any, up to ten in words."""
    if faults:
        raise DatasetError("\n".join(first_of(faults, MAX_ERRORS_SHOWN)))


def warn(lines: Sequence[str]) -> None:
    """Show warnings, as far as they do not flood the screen."""
    for line in first_of(lines, MAX_WARNINGS_SHOWN):
        logger.warning("%s", line)


def first_of(lines: Sequence[str], most: int) -> list[str]:
    """Some of the lines, and how many there are beyond."""
    hidden = len(lines) - most
    return [*lines[:most], *([f"... and {hidden} more"] if hidden > 0 else [])]


@dataclass(frozen=True)
class Fault:
    """Why there is no result of a case."""

    message: str
    is_short: bool = False  # of memory


def _is_short(outcome: object) -> bool:
    return isinstance(outcome, Fault) and outcome.is_short


def attempt(work: Callable[[T], R], case: T) -> R | Fault:
    """What `work` gives, or why the case is refused."""
    try:
        return work(case)
    except DatasetError as problem:
        return Fault(str(problem), isinstance(problem, MemoryShortageError))


def _died(case: Case) -> Fault:
    return Fault(
        f"case {case.identifier}: the process that worked on it died, mostly because memory ran out; try again with "
        "more memory, or remove the case"
    )
