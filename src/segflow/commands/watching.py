"""What people see of a training while it runs: a line and a row of its table per epoch, a picture, trackers.

Nothing here decides a result, and nothing that goes wrong here ends a training. So a change of this module, or of what
it imports, trains nothing anew (`segflow.workflow.code`).
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Final

from segflow.commands.arguments import TrackerName
from segflow.commands.console import console, logger
from segflow.commands.trackers import Tracker, open_tracker, require_tracker
from segflow.reporting.progress import draw_progress
from segflow.reporting.training import diagnoses, epoch_line
from segflow.storage.files import open_atomically

__all__ = ["Watch"]

#: A picture takes a third of a second.
_REDRAW_S: Final = 30.0
_SCALARS: Final = ("learning_rate", "train_loss", "validation_loss", "mean", "ema", "seconds")


@dataclass
class Watch:
    """Is shown the state of a training whenever it is saved. A copy in another process writes to the same place.

    Attributes:
        what: Of the training, before every line.
        target_names: One per entry of `pseudo_dice`.
        epochs: Planned length of training.
        picture: PNG file.
        table: Writes the history so far to a file.
        trackers: Programs that are told every epoch; their files lie beside the picture.
    """

    what: str
    target_names: Sequence[str]
    _: KW_ONLY
    epochs: int
    picture: Path
    table: Callable[[Sequence[Mapping[str, Any]]], object]
    trackers: Sequence[TrackerName] = ()
    _opened: list[Tracker] = field(default_factory=list, init=False)
    _drawn: float = field(default=-math.inf, init=False)
    _seen: int | None = field(default=None, init=False)
    _said: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        for name in self.trackers:
            require_tracker(name)

    def __call__(self, state: Mapping[str, Any]) -> None:
        """Tell about the epochs since the last call, and draw unless that was done a moment ago."""
        history = state["history"]
        if self._seen is None:
            unfinished = bool(state["losses"])  # saved within an epoch
            self._seen = max(len(history) - (not unfinished), 0)  # others were told before an interruption
        if len(history) > self._seen:
            self.show(history, redraw=time.monotonic() - self._drawn >= _REDRAW_S)

    def show(self, history: Sequence[Mapping[str, Any]], *, redraw: bool = True) -> None:
        """Tell about, write, draw and log a training as it is now.

        Args:
            history: A record per epoch, as plain data.
            redraw: Make a new picture.
        """
        try:
            self._tell(history)
            self.table(history)
            if redraw:
                picture = draw_progress(history, self.target_names)
                with open_atomically(self.picture) as temporary:
                    temporary.write_bytes(picture)
                self._drawn = time.monotonic()
            self._log(history)
        except Exception as problem:  # noqa: BLE001  a full disk must not end a training
            logger.warning("the progress of the training cannot be shown: %s", problem)
        self._seen = len(history)

    def _tell(self, history: Sequence[Mapping[str, Any]]) -> None:
        """A line per new epoch, in the log and, where no bar is shown, on the standard output."""
        lines = [
            epoch_line(history[: n + 1], self.target_names, epochs=self.epochs)
            for n in range(len(history) if self._seen is None else self._seen, len(history))
        ]
        found = diagnoses(history, self.target_names, epochs=self.epochs) if lines else ()
        new = [sentence for sentence in found if sentence not in self._said]
        self._said.update(new)
        for line in (*lines, *new):
            logger.info("%s: %s", self.what, line)
            if not console.is_terminal:
                sys.stdout.write(f"{self.what}: {line}\n")
                sys.stdout.flush()

    def _log(self, history: Sequence[Mapping[str, Any]]) -> None:
        """The first time from the beginning: an interrupted training may have logged epochs that were lost."""
        if not self._opened:
            folder = self.picture.parent
            self._opened = [open_tracker(name, folder / name, self.what) for name in self.trackers]
            self._seen = 0
        for record in history[self._seen or 0 :] if self._opened else ():
            pseudo_dice = zip(self.target_names, record["pseudo_dice"], strict=True)
            values = {name: record[name] for name in _SCALARS}
            values |= {f"pseudo_dice/{name}": dice for name, dice in pseudo_dice}
            for log in self._opened:
                log(record["epoch"], values)
