"""What a command shows while it works: a progress bar on the screen, and log lines."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from segflow.processes.streams import open_closed_streams

__all__ = ["Bar", "answers", "console", "logger", "progress_bar"]

logger = logging.getLogger("segflow")


class _Screen(Console):
    """A console whose reader may leave, such as `| head` or a terminal that is closed: the work goes on."""

    def on_broken_pipe(self) -> None:
        """Say nothing more."""
        self.quiet = True
        open_closed_streams(broken=(sys.stderr if self.stderr else sys.stdout).fileno())


#: Names of files and labels are shown as they are: no markup, no emoji.
console = _Screen(stderr=True, markup=False, emoji=False)
#: What a command is asked for.
answers = _Screen(markup=False, emoji=False)

#: On a narrow screen the bar is short, and the note, with a training's epoch and loss, comes before counts.
_WIDE, _BAR_CHARACTERS = 100, (8, 16)


class Bar:
    """One line of progress; implements the `Progress` contract."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        """Move on, and show a short note beside the bar."""
        self._progress.update(self._task, advance=steps, note=note)


class _TimeLeft(TimeRemainingColumn):
    """Time left, or at the end the time taken, in words."""

    def __init__(self) -> None:
        super().__init__(elapsed_when_finished=True, table_column=Column(no_wrap=True, min_width=12))

    def render(self, task: Task) -> Text:
        """What is shown."""
        return super().render(task).append(" taken" if task.finished else " left")


class _Throughput(ProgressColumn):
    """Items per second, over the last half minute."""

    def __init__(self, per_step: int, item: str) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._per_step = per_step
        self._item = item

    def render(self, task: Task) -> Text:
        """What is shown."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed * self._per_step:.1f} {self._item}/s")


@contextmanager
def progress_bar(label: str, total: int, *, per_step: int = 1, item: str = "") -> Iterator[Bar]:
    """Show a bar with count, time left and a note while the block runs.

    Args:
        label: What is being done.
        total: Steps.
        per_step: Items of a step.
        item: What they are called; with a name, how many are done in a second is shown on a wide screen.

    Yields:
        The bar to advance.
    """
    wide = console.width >= _WIDE
    throughput = (_Throughput(per_step, item),) if item and wide else ()
    count = MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=len(f"{total}/{total}")))
    columns = (
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=_BAR_CHARACTERS[wide]),
        *((count,) if wide or not item else ()),
        _TimeLeft(),
        *throughput,
        TextColumn(
            "{task.fields[note]}",
            markup=False,
            style="dim",
            table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),  # what the others leave
        ),
    )
    logger.info("%s: %d steps", label, total)
    with Progress(*columns, console=console, refresh_per_second=4, expand=True) as progress:
        yield Bar(progress, progress.add_task(label, total=total, note=""))
    logger.info("%s: done", label)
