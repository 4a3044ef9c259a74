"""Going through the raw cases of a data set, and not doing again what is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

from segflow.commands.console import logger, progress_bar
from segflow.contracts.artefacts import CheckedCase, CheckReport
from segflow.contracts.case import Case
from segflow.contracts.codec import Contract
from segflow.contracts.errors import MAX_ERRORS_SHOWN, DatasetError, MemoryShortageError, first_of
from segflow.images.formats import digest_of_image
from segflow.processes.pool import map_cases
from segflow.storage.files import read_contract
from segflow.storage.results import ResultFolder
from segflow.workflow.chunks import chunk_of

__all__ = [
    "CaseDigests",
    "cases_of_chunk",
    "checked_cases",
    "for_each_case",
    "for_each_noted",
    "warn",
]

C = TypeVar("C", bound=Contract)
R = TypeVar("R")
T = TypeVar("T")

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
    return _for_each(title, work, {case.identifier: case for case in cases}, workers, if_died=_died)


def for_each_noted(
    title: str,
    work: Callable[[T], C],
    items: Mapping[str, T],
    journal: ResultFolder,
    kind: type[C],
    *,
    workers: int,
) -> dict[str, C]:
    """Do something with every item; an item that fails stops no other, and is named at the end.

    What an interrupted call has noted in the journal is not done again.

    Args:
        title: For the progress bar.
        work: Picklable, unless it is done in this process.
        items: By a key of all that their results depend on.
        journal: Gets every result.
        kind: Of the results.
        workers: Processes; 0 does the work in this one.

    Returns:
        Key to result, in the order of the items.

    Raises:
        DatasetError: Of all items that failed, up to ten in words.
    """
    entries = {key: journal.find(key, key) for key in items}
    noted = {key: kind.model_validate(entry.data) for key, entry in entries.items() if entry is not None}
    left = {key: item for key, item in items.items() if key not in noted}

    def note(key: str, result: C) -> None:
        journal.note(key, key, data=result.model_dump(mode="json", by_alias=True))

    found = noted | _for_each(title, work, left, workers, done=len(noted), note=note)
    return {key: found[key] for key in items}


def _for_each(
    title: str,
    work: Callable[[T], R],
    items: Mapping[str, T],
    workers: int,
    *,
    done: int = 0,
    note: Callable[[str, R], object] = lambda _name, _result: None,
    if_died: Callable[[T], R | _Fault] | None = None,
) -> dict[str, R]:
    """Results by name; `done` items were there before, and `note` is told each result as it comes."""
    found: dict[str, R] = {}
    faults: dict[str, str] = {}
    with progress_bar(title, done + len(items)) as bar:
        bar.advance(done)
        for name, outcome in _tried(work, items, workers, if_died):
            if isinstance(outcome, _Fault):
                faults[name] = outcome.message
            else:
                note(name, outcome)
                found[name] = outcome
            bar.advance()
    if faults:
        messages = [faults[name] for name in items if name in faults]
        raise DatasetError("\n".join(first_of(messages, MAX_ERRORS_SHOWN)))
    return {name: found[name] for name in items}


def _tried(
    work: Callable[[T], R], items: Mapping[str, T], workers: int, if_died: Callable[[T], R | _Fault] | None
) -> Iterator[tuple[str, R | _Fault]]:
    """Outcomes by name; items that do not fit into memory beside the others come last, tried one at a time."""
    spread = partial(map_cases, workers=workers, if_died=if_died) if workers else map
    again: dict[str, T] = {}
    for name, outcome in zip(items, spread(partial(_attempt, work), [*items.values()]), strict=True):
        if workers > 1 and isinstance(outcome, _Fault) and outcome.is_short:
            again[name] = items[name]
        else:
            yield name, outcome
    if again:
        yield from _tried(work, again, 1, if_died)


def warn(lines: Sequence[str]) -> None:
    """Show warnings, as far as they do not flood the screen."""
    for line in first_of(lines, MAX_WARNINGS_SHOWN):
        logger.warning("%s", line)


@dataclass(frozen=True)
class _Fault:
    """Why there is no result of a case."""

    message: str
    is_short: bool = False  # of memory


def _attempt(work: Callable[[T], R], case: T) -> R | _Fault:
    """What `work` gives, or why the case is refused."""
    try:
        return work(case)
    except DatasetError as problem:
        return _Fault(str(problem), isinstance(problem, MemoryShortageError))


def _died(case: Case) -> _Fault:
    return _Fault(
        f"case {case.identifier}: the process that worked on it died, usually because memory ran out; try again with "
        "more memory, or remove the case"
    )
