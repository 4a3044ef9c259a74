"""What a job has finished so far, case by case, so that an interrupted job goes on where it stopped."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segflow.processes.locks import locked

__all__ = ["Ledger", "ledger"]

#: A disk takes milliseconds to confirm a note, more than it takes to score a small case.
_SYNC_S = 1.0


class Ledger:
    """Finished cases of one job, each with what its result depends on; see `ledger`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = dict(_read(path))
        self._synced = -math.inf

    def find(self, case: str, key: str) -> Any:
        """What was noted for the case, or None if it is unfinished or was made from something else.

        Args:
            case: Its identifier.
            key: Names all that the result depends on.
        """
        noted_key, noted = self._entries.get(case, ("", None))
        return noted if noted_key == key else None

    def note(self, case: str, key: str, result: Any) -> None:
        """Note a case whose files are complete.

        The note survives the end of this process, however it comes; a crash of the machine costs the last second's.

        Args:
            case: Its identifier.
            key: Names all that the result depends on.
            result: Plain data.
        """
        self._entries[case] = (key, result)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([case, key, result]) + "\n")
            file.flush()
            if time.monotonic() - self._synced > _SYNC_S:
                os.fsync(file.fileno())
                self._synced = time.monotonic()


@contextmanager
def ledger(path: Path) -> Iterator[Ledger]:
    """Lend the ledger of a job exclusively; remove it if the block succeeds, keep it if the block fails or is killed.

    Whoever has to wait for another process says so in the log.

    Args:
        path: Made if missing, with its folder. Its lock lies beside it while it is lent.

    Yields:
        The ledger.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        yield Ledger(path)
        path.unlink(missing_ok=True)


def _read(path: Path) -> Iterator[tuple[str, tuple[str, Any]]]:
    """Notes up to the first that was cut short; that one is dropped, so that the next starts a line of its own."""
    if not path.exists():
        return
    whole = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                case, key, result = json.loads(line)
            except ValueError:
                break
            whole += len(line)
            yield case, (key, result)
    os.truncate(path, whole)
