"""One process of a training: what runs in it, and what it says to the process that started it."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist

from segflow.contracts.errors import Interrupted, SegflowError
from segflow.training.memory import ran_out
from segflow.training.team import Lost, join

__all__ = ["Ask", "Call", "End", "Fate", "Log", "Step", "run_rank"]

_PR_SET_PDEATHSIG: Final = 1  # of Linux's prctl: the signal a process gets when its parent dies
_LONGEST: Final = 10_000  # characters of a traceback, of which the end says most


@dataclass(frozen=True)
class Call:
    """What to run, and with whom."""

    work: Callable[..., None]
    arguments: tuple[Any, ...]
    devices: tuple[str, ...]
    meeting: Path
    threads: int


@dataclass(frozen=True)
class Step:
    """Progress."""

    steps: int
    note: str


@dataclass(frozen=True)
class Ask:
    """Shall we stop? The only thing that is answered."""


@dataclass(frozen=True)
class Log:
    """A line for the log."""

    level: int
    text: str


class Fate(Enum):
    """How a process ended."""

    DONE = auto()
    INTERRUPTED = auto()
    REFUSED = auto()  # with an error that is the user's to mend
    OUT_OF_MEMORY = auto()
    FAILED = auto()
    LOST = auto()  # because of another process
    DIED = auto()  # without a word


@dataclass(frozen=True)
class End:
    """The last that is said."""

    fate: Fate
    text: str = ""


def run_rank(number: int, call: Call, line: Connection) -> None:
    """The life of a process.

    Args:
        number: Its rank.
        call: What to do.
        line: To the process that started it.
    """
    _leave_signals_to_parent()
    torch.set_num_threads(call.threads)
    end = _outcome(number, call, line)
    line.send(end)
    if end.fate not in {Fate.DONE, Fate.INTERRUPTED}:
        os._exit(1)  # nothing to tidy up that would not wait for the others
    dist.destroy_process_group()


def _outcome(number: int, call: Call, line: Connection) -> End:
    voice = _Voice(line) if number == 0 else _Silence()
    if number == 0:
        logging.getLogger("segflow").addHandler(_LogLine(line))
        logging.getLogger("segflow").setLevel(logging.INFO)
    try:
        call.work(join(number, call.devices, meeting=call.meeting), voice, voice.stop, *call.arguments)
    except Interrupted:
        return End(Fate.INTERRUPTED)
    except Lost as error:
        return End(Fate.LOST, str(error))
    except SegflowError as error:
        return End(Fate.REFUSED, str(error))
    except Exception as error:  # noqa: BLE001  reported by the parent
        memory = isinstance(error, RuntimeError) and ran_out(error)
        text = str(error) if memory else traceback.format_exc()
        return End(Fate.OUT_OF_MEMORY if memory else Fate.FAILED, text[-_LONGEST:])
    return End(Fate.DONE)


def _leave_signals_to_parent() -> None:
    """The parent alone decides what Ctrl-C and SIGTERM mean, although all get them; and we end with it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        parent = multiprocessing.parent_process()
        if parent is None or os.getppid() != parent.pid:  # it died meanwhile
            os._exit(1)
        # All are on this machine, and what its name resolves to may not be there.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


class _Voice:
    """The caller's progress and its wish to stop, as seen from here."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        self._line.send(Step(steps, note))

    def stop(self) -> bool:
        self._line.send(Ask())
        return bool(self._line.recv())


class _Silence:
    """Of all processes but the first."""

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        pass

    def stop(self) -> bool:
        return False


class _LogLine(logging.Handler):
    """Lines of the first process go to the caller's log."""

    def __init__(self, line: Connection) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        self._line.send(Log(record.levelno, record.getMessage()))
