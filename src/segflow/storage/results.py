"""Finished items and what they were made from, so that only what is missing or out of date is made again.

An item (a prepared case, a label map, a score) has a key that names everything it is made from: digests of its input
files, settings and code (`segflow.storage.files.key_of`). When it is finished, an entry is noted: the key, a digest of
each of its files, and plain data. It is found again only under the same key, and only while its files are unchanged:

    entry = results.find(item, key) or results.note(item, key, files=make(item))

Results that stay lie in a `ResultFolder` beside their entries. Entries of an unfinished job lie in a journal
(`open_journal`), from which the next attempt continues; it is removed when the job is done, since from then on the
workflow decides what is up to date. A training that is interrupted continues from its `unfinished_folder`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segflow.contracts.codec import Contract
from segflow.contracts.errors import PlanError
from segflow.processes.locks import locked
from segflow.storage.files import changed_file, digests_of, key_of, read_contract, write_text

__all__ = ["Entry", "ResultFolder", "open_journal", "unfinished_folder"]


class Entry(Contract):
    """A finished item.

    Attributes:
        key: Names everything that it was made from.
        files: Path to SHA-256, in the order in which they were noted.
        data: Plain data, as JSON has it.
    """

    key: str
    files: dict[str, str]
    data: Any = None

    @property
    def digest(self) -> str:
        """Digest of files and data; equal digests mean equal results, whatever they were made from."""
        return key_of(json.dumps(self.data), *self.files, *self.files.values())


class ResultFolder:
    """Entries of finished items, ITEM.json each. Several processes may write, if each has its own items.

    Attributes:
        folder: Where the entries are.
        files_folder: The files of items are noted relative to it; by default the same folder.
    """

    def __init__(self, folder: Path, *, files_folder: Path | None = None) -> None:
        self.folder = folder
        self.files_folder = files_folder or folder

    def find(self, item: str, key: str) -> Entry | None:
        """The entry of an item; None if it is unfinished, was made from something else, or a file has changed."""
        try:
            entry = self.read(item)
        except PlanError:  # missing or damaged
            return None
        if entry.key != key or changed_file(self.files_folder, entry.files) is not None:
            return None
        return entry

    def note(self, item: str, key: str, *, files: Iterable[Path] = (), data: Any = None) -> Entry:
        """Note an item, given by a file name, whose files are complete; an earlier entry is replaced."""
        entry = Entry(key=key, files=digests_of(self.files_folder, files), data=data)
        write_text(self._file(item), _compact(entry))
        return entry

    def read(self, item: str) -> Entry:
        """The entry of an item, without a look at its files.

        Raises:
            PlanError: There is none, or it is damaged.
        """
        return read_contract(Entry, self._file(item))

    def remove(self, item: str) -> None:
        """Remove the entry, so that the item counts as unfinished while its files are written."""
        self._file(item).unlink(missing_ok=True)

    def keep_only(self, items: Collection[str]) -> None:
        """Remove all other items, with their files."""
        for file in self.folder.glob("[!.]*.json"):
            if file.stem not in items:
                for name in self.read(file.stem).files:
                    (self.files_folder / name).unlink(missing_ok=True)
                file.unlink()

    def _file(self, item: str) -> Path:
        return self.folder / f"{item}.json"


@contextmanager
def unfinished_folder(folder: Path, *, on_wait: Callable[[], None] | None = None) -> Iterator[Path]:
    """Lend a folder for unfinished work to one process at a time.

    Args:
        folder: Made if missing. Removed if the block succeeds, kept if it fails or is killed.
        on_wait: Called before waiting for another process that has the folder; by default a line is logged.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder, on_wait=on_wait):
        folder.mkdir(exist_ok=True)
        yield folder
        shutil.rmtree(folder)


@contextmanager
def open_journal(folder: Path, *, known: Mapping[str, Entry] | None = None) -> Iterator[ResultFolder]:
    """Lend the journal of an unfinished job, an `unfinished_folder` of entries, to one process at a time.

    Args:
        folder: The journal. Files of items are noted relative to the folder it lies in.
        known: Entries from elsewhere, such as an earlier job's; the journal's own take precedence.
    """
    with unfinished_folder(folder):
        own = {file.stem for file in folder.glob("*.json")}
        for item, entry in (known or {}).items():
            if item not in own:
                write_text(folder / f"{item}.json", _compact(entry))
        yield ResultFolder(folder, files_folder=folder.parent)


def _compact(entry: Entry) -> str:
    """Without indentation, which takes Python's slow encoder: there may be one entry per case and model."""
    return json.dumps(entry.model_dump(mode="json")) + "\n"
