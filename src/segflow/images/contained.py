"""Native readers in a process of their own, since a damaged file may crash or hang them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.errors import DatasetError
from segflow.images.formats import companions
from segflow.images.headers import check_header
from segflow.processes.signals import follow_parent

__all__ = ["contained", "serve"]

T = TypeVar("T")

_PATIENCE_S: Final = 60.0
_SLOWEST_BYTES_PER_S: Final = 1e6  # reading that is slower is given up
_CHUNK: Final = 1 << 25
_threads = threading.local()  # each thread has a process of its own


class _CrashError(DatasetError):
    """The process died."""


@dataclass(frozen=True)
class _Sizes:
    """Announces an array, whose bytes follow."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class _Reader:
    """A process that reads one file after the other, as long as it lives."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        code = f"import sys; sys.path[:] = {sys.path!r}; import {__name__} as module; module.serve({theirs.fileno()})"
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603  this interpreter, this module
                [sys.executable, "-c", code],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self.owner = os.getpid()
        self.end = weakref.finalize(self, _end, self.process, self.connection, self.owner)

    def is_usable(self) -> bool:
        """Whether the process lives, and is this one's: a fork has the same memory."""
        return self.owner == os.getpid() and self.process.poll() is None

    def ask(self, work: Callable[[Path], Any], file: Path) -> Any:
        """What the work returns, or the exception that it raises."""
        size = sum(part.stat().st_size for part in (file, *companions(file)) if part.exists())
        limit_s = _PATIENCE_S + size / _SLOWEST_BYTES_PER_S
        try:
            self.connection.send((work, Path(os.path.abspath(file))))  # noqa: PTH100  links stay
            self._wait(limit_s)
            answer = self.connection.recv()
            if not isinstance(answer, _Sizes):
                return answer
            array = np.empty(answer.shape, answer.dtype)
            for part in _parts(array):
                self._wait(limit_s)
                self.connection.recv_bytes_into(part)
        except (EOFError, OSError):  # even in the middle of a message
            raise _CrashError(_cause_of_death(self.process.wait(_PATIENCE_S))) from None
        return array

    def _wait(self, limit_s: float) -> None:
        if not self.connection.poll(limit_s):
            raise DatasetError(
                f"the library that reads it was not ready after {limit_s:.0f} s; it is damaged, or its disk too slow: "
                "replace it, or remove the case"
            )


def contained(work: Callable[[Path], T], file: Path) -> T:
    """Apply a function of a module to a file whose header is sound, in another process.

    The process is started once per thread (half a second), and again if it has died.

    Raises:
        DatasetError: The header cannot be right, or the process died or was not ready in time.
        Exception: As `work` raises it.
    """
    check_header(file)
    reader: _Reader | None = getattr(_threads, "reader", None)
    if reader is not None and reader.is_usable():
        with suppress(_CrashError):  # an earlier file may have damaged its memory: a new process decides
            return _answer(reader, work, file)
    return _answer(_Reader(), work, file)


def _answer(reader: _Reader, work: Callable[[Path], T], file: Path) -> T:
    _threads.reader = None  # until it has answered: what is left of an answer is not read
    try:
        answer = reader.ask(work, file)
    except BaseException:
        reader.end()
        raise
    _threads.reader = reader
    if isinstance(answer, Exception):
        raise answer
    return answer


def serve(descriptor: int) -> None:
    """Read files until the parent closes the connection."""
    follow_parent(ignore_sigterm=True)  # signals are the parent's business
    with Connection(descriptor) as connection, suppress(EOFError, ConnectionError):
        while True:
            work, file = connection.recv()
            try:
                answer = work(file)
            except Exception as problem:  # noqa: BLE001  raised again in the parent
                answer = problem
            if not isinstance(answer, np.ndarray):
                connection.send(answer)
                continue
            array = np.ascontiguousarray(answer)
            connection.send(_Sizes(array.shape, array.dtype))
            for part in _parts(array):
                connection.send_bytes(part)
            del answer, array


def _parts(array: NDArray[Any]) -> list[memoryview]:
    """An array's bytes, in pieces that are small beside a large image."""
    content = array.reshape(-1).view(np.uint8).data
    return [content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK)]


def _cause_of_death(status: int) -> str:
    if status == -signal.SIGKILL:
        return (
            "the process that read it was killed, usually because memory ran out; try again with more memory"
        )
    name = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"the library that reads it crashed ({name}): it is damaged; replace it, or remove the case"


def _end(process: subprocess.Popen[bytes], connection: Connection, owner: int) -> None:
    connection.close()
    if owner == os.getpid():
        process.kill()
        process.wait()
