"""Finished items and what they were made from: what is whole and made from exactly the same is kept, all else is made.

An item (a prepared case, a label map, a score) has a key that names all it is made from: digests of its files, recipe
and code (`segflow.storage.files.key_of`). When it is finished, an entry is noted: the key, a digest of each of its
files, and plain data. It is found again under the same key only, and only while its files are what they were:

    entry = results.find(item, key) or results.note(item, key, files=make(item))

All stages use this, with one of two places for the entries:

* `open_journal`: one file for a job, with which its next attempt goes on after an interruption. It goes when the job
  is done: what is up to date then is the workflow's business. Scores and measurements of this kind are data alone.
* `ResultFolder`: a file beside each item, which stays. Several processes may write, each other items.

What is unfinished is not an entry: `unfinished_folder` lends a training the folder of its checkpoints, by its key.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from segflow.contracts.codec import Contract
from segflow.contracts.errors import PlanError
from segflow.processes.locks import locked
from segflow.storage.files import changed_file, digests_of, key_of, read_contract, write_text

__all__ = ["Entry", "Journal", "ResultFolder", "Results", "open_journal", "unfinished_folder"]

#: A disk takes milliseconds to confirm a note, more than it takes to score a small case.
_SYNC_S: Final = 1.0
_KEY_LENGTH: Final = 16


class Entry(Contract):
    """A finished item.

    Attributes:
        key: Names all that it was made from.
        files: Path, relative to the folder of the results, to SHA-256; in the order in which they were noted.
        data: Plain data.
    """

    key: str
    files: dict[str, str]
    data: Any = None

    @property
    def digest(self) -> str:
        """Of all but the key: equal digests mean equal results, whatever they were made from."""
        return key_of(json.dumps(self.data), *self.files, *self.files.values())


class Results(ABC):
    """Entries of finished items.

    Attributes:
        folder: Files are noted relative to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, item: str, key: str) -> Entry | None:
        """The entry of an item; None if it is unfinished, was made from something else, or a file has changed."""
        entry = self._load(item)
        if entry is None or entry.key != key or changed_file(self.folder, entry.files) is not None:
            return None
        return entry

    def note(self, item: str, key: str, *, files: Iterable[Path] = (), data: Any = None) -> Entry:
        """Note an item whose files are complete.

        Args:
            item: Its identifier.
            key: As for `find`.
            files: Those that were made for it.
            data: Plain data, as JSON has it.
        """
        entry = Entry(key=key, files=digests_of(self.folder, files), data=data)
        self._save(item, entry)
        return entry

    @abstractmethod
    def _load(self, item: str) -> Entry | None: ...

    @abstractmethod
    def _save(self, item: str, entry: Entry) -> None: ...


class ResultFolder(Results):
    """Results that stay: ITEM.json, with its files beside it."""

    def read(self, item: str) -> Entry:
        """The entry of an item, unchecked.

        Raises:
            PlanError: There is none, or it is damaged.
        """
        return read_contract(Entry, self._file(item))

    def remove(self, item: str) -> None:
        """Take the entry away, so that the item is unfinished while its files are written."""
        self._file(item).unlink(missing_ok=True)

    def keep_only(self, items: Collection[str]) -> None:
        """Remove the other items, with their files."""
        for file in self.folder.glob("*.json"):
            if file.stem not in items:
                for name in self.read(file.stem).files:
                    (self.folder / name).unlink(missing_ok=True)
                file.unlink()

    def _file(self, item: str) -> Path:
        return self.folder / f"{item}.json"

    def _load(self, item: str) -> Entry | None:
        try:
            return self.read(item)
        except PlanError:
            return None

    def _save(self, item: str, entry: Entry) -> None:
        write_text(self._file(item), entry.to_json())


class Journal(Results):
    """Results of an unfinished job; see `open_journal`."""

    def __init__(self, path: Path, known: Mapping[str, Entry]) -> None:
        super().__init__(path.parent)
        self._path = path
        self._entries = {**known, **dict(_read(path))}
        self._synced = -math.inf

    def _load(self, item: str) -> Entry | None:
        return self._entries.get(item)

    def _save(self, item: str, entry: Entry) -> None:
        """The entry survives the end of this process, however it comes; a crash of the machine costs a second's."""
        self._entries[item] = entry
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([item, entry.model_dump(mode="json")]) + "\n")
            file.flush()
            if time.monotonic() - self._synced > _SYNC_S:
                os.fsync(file.fileno())
                self._synced = time.monotonic()


@contextmanager
def open_journal(path: Path, *, known: Mapping[str, Entry] | None = None) -> Iterator[Journal]:
    """Lend a job's journal to one process at a time; whoever has to wait says so in the log.

    Args:
        path: Removed if the block succeeds, kept if it fails or is killed. Made if missing, with its folder.
        known: Entries from elsewhere, such as an earlier job's; the journal's own come first.

    Yields:
        The journal.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        yield Journal(path, known or {})
        path.unlink(missing_ok=True)


@contextmanager
def unfinished_folder(parent: Path, key: str, *, on_wait: Callable[[], None] | None = None) -> Iterator[Path]:
    """Lend the folder for unfinished work with a key to one process at a time.

    Args:
        parent: Made if missing.
        key: Names all that the result depends on, so that nobody else's work is taken up.
        on_wait: Called if another process has the folder, before waiting for it; by default a line is logged.

    Yields:
        The folder; removed if the block succeeds, kept if it fails or is killed.
    """
    folder = parent / key[:_KEY_LENGTH]
    parent.mkdir(parents=True, exist_ok=True)
    with locked(folder, on_wait=on_wait):
        folder.mkdir(exist_ok=True)
        yield folder
        shutil.rmtree(folder)


def _read(path: Path) -> Iterator[tuple[str, Entry]]:
    """Entries up to the first that was cut short; that one is dropped, so that the next starts a line of its own."""
    if not path.exists():
        return
    whole = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                item, entry = json.loads(line)
                found = Entry.model_validate(entry)
            except ValueError:
                break
            whole += len(line)
            yield item, found
    os.truncate(path, whole)
