"""`segflow watch`: all trainings of some results side by side, from their logs."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from segflow.commands.arguments import InputFolder
from segflow.commands.console import answers
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.forecast import Forecast
from segflow.processes.locks import holder_of
from segflow.reporting.text import ABSENT, duration_text
from segflow.storage.files import read_contract

_REFRESH_S: Final = 2.0
#: A training on another machine, whose process is not seen from here, counts as running as long as it writes something:
#: its state at least every ten minutes, if `resources.checkpoint_minutes` is as it was.
_SILENT_S: Final = 900.0
#: Folders of experiments below results, and of their logs of trainings; or a folder of logs is given.
_ABOVE: Final = ("", "*/", "*/*/")
_PLACES: Final = ("", "train/", *(f"{above}logs/train/" for above in _ABOVE))
_LINE = re.compile(r"^(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ (?P<level>[A-Z]+) (?P<text>.*)$")
_EPOCH = re.compile(
    r".*?: epoch (?P<done>\d+)/(?P<epochs>\d+): (?:.*; mean (?P<dice>[^ ,;]+), moving [^ ;]+|[^;]*)"
    r"; learning rate [^;]*; [^,]+(?:, (?P<left>.*) left)?$"
)
_UNITS: Final = {"h": 3600, "min": 60, "s": 1}
_STYLES: Final = {"running": "bold green", "resumed": "bold green", "finished": "green", "failed": "bold red"}


@dataclass
class _Training:
    """A training as its log tells.

    Attributes:
        experiment: Folder of the recipe's results.
        name: Configuration and fold.
        state: queued, running, resumed, finished, interrupted, failed (with an error) or killed (without a word).
        done: Epochs.
        epochs: Planned, or 0 where that is not known yet.
        dice: Last mean pseudo-Dice, as text.
        left_s: Time left.
    """

    experiment: Path
    name: str
    state: str = "running"
    done: int = 0
    epochs: int = 0
    dice: str = ABSENT
    left_s: float | None = None


def watch(folder: InputFolder, *, once: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Show all trainings of some results: state, epoch, last mean pseudo-Dice and time left.

    A training is queued (where there is a forecast), running, resumed (after an interruption), finished, interrupted,
    failed or killed. Its curves are in progress.png beside its weights.

    Args:
        folder: The results, of one or several experiments, or a folder of logs.
        once: Show them once, as is done where there is no terminal, instead of until Ctrl-C.
    """
    folder = folder.absolute()  # for the folders above a log
    if once or not answers.is_terminal:
        answers.print(_table(folder))
        return
    try:
        with Live(_table(folder), console=answers, auto_refresh=False, transient=False) as live:
            while True:
                time.sleep(_REFRESH_S)
                live.update(_table(folder), refresh=True)
    except KeyboardInterrupt:
        pass  # how it is meant to end


def _table(folder: Path) -> RenderableType:
    found = sorted(_trainings(folder), key=lambda one: (str(one.experiment), one.name))
    if not found:
        raise ConfigurationError(
            f"{folder} has no logs of trainings (train/CONFIGURATION_fold_K.log); name results"
        )
    parts: list[RenderableType] = []
    for experiment, trainings in groupby(found, key=lambda one: one.experiment):
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("training", "state", "epoch", "", "Dice", "time left"):
            table.add_column(
                heading, no_wrap=True, justify="right" if heading in {"epoch", "Dice"} else "left"
            )
        for one in trainings:
            table.add_row(
                Text(one.name),
                Text(one.state, style=_STYLES.get(one.state, "yellow")),
                f"{one.done}/{one.epochs}" if one.epochs else ABSENT,
                ProgressBar(total=one.epochs or 1, completed=one.done, width=10),
                one.dice,
                "" if one.left_s is None else duration_text(one.left_s),
            )
        parts += [Text(str(experiment), style="bold"), table, Text()]
    return Group(*parts)


def _trainings(folder: Path) -> Iterator[_Training]:
    logs = {log for place in _PLACES for log in folder.glob(f"{place}*_fold_*.log")}
    for log in logs:
        configuration, _, fold = log.stem.rpartition("_fold_")
        found = _Training(log.parents[2], f"{configuration} fold {fold}")
        _read(log, found)
        if found.state in {"running", "resumed"} and not _is_alive(log):
            found.state = "killed"
        if found.state not in {"running", "resumed"}:
            found.left_s = None
        yield found
    begun = {log.resolve() for log in logs}
    for file in {file for above in _ABOVE for file in folder.glob(f"{above}forecast.json")}:
        made = read_contract(Forecast, file)
        for one, fold in itertools.product(made.networks, made.folds):
            log = file.parent / "logs" / "train" / f"{one.configuration}_fold_{fold}.log"
            if log.resolve() not in begun:
                yield _Training(file.parent, f"{one.configuration} fold {fold}", "queued", epochs=one.epochs)


def _read(log: Path, found: _Training) -> None:
    """What the log's lines say, one after the other: a training that goes on writes to the log of the one before."""
    for line in filter(
        None, map(_LINE.match, log.read_text(encoding="utf-8", errors="replace").splitlines())
    ):
        text = line["text"]
        if line["level"] == "ERROR":
            found.state = "failed"
        elif epoch := _EPOCH.match(text):
            found.done, found.epochs, found.dice = (
                int(epoch["done"]),
                int(epoch["epochs"]),
                epoch["dice"] or ABSENT,
            )
            since = (datetime.now() - datetime.fromisoformat(line["time"])).total_seconds()
            found.left_s = max(0.0, _seconds(epoch["left"] or "0 s") - since)
        elif text.endswith(" steps"):
            found.state, found.left_s = "running", None
        elif text.startswith("resumed after"):
            found.state = "resumed"
        elif text.startswith(("stopped by signal", "interrupted")):
            found.state = "interrupted"
        elif ": trained on " in text:
            found.state = "finished"


def _seconds(text: str) -> float:
    """Of "1 h 05 min", as `duration_text` writes it."""
    words = text.split()
    return sum(float(number) * _UNITS[unit] for number, unit in zip(words[::2], words[1::2], strict=True))


def _is_alive(log: Path) -> bool:
    """Whether a process is at the training, or was a short while ago."""
    work = log.parents[2] / "work" / log.stem
    locks = [*work.glob("*.lock")]
    if any(holder_of(lock) for lock in locks):
        return True
    files = [log, *work.glob("*/checkpoint.pt")]
    return bool(locks) and time.time() - max(file.stat().st_mtime for file in files) < _SILENT_S
