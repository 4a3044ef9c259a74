"""Making a label map per case, and going on where an interrupted call of the same job stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from segflow.commands.console import progress_bar
from segflow.contracts.artefacts import Manifest
from segflow.storage.files import key_of, write_text
from segflow.storage.results import open_journal

__all__ = ["label_cases"]


def label_cases(
    title: str, keys: Mapping[str, str], make: Callable[[str], Sequence[Path]], manifest: Path
) -> None:
    """Make the label map of every case, then write the manifest.

    Args:
        title: For the progress bar.
        keys: Case to a name for all that its label map depends on. What an interrupted call has noted under the same
            name, and is still whole, is not made again.
        make: Writes the files of a case and gives their paths, the label map's first.
        manifest: Gets a digest per case, once all are there.
    """
    digests: dict[str, str] = {}
    unfinished = manifest.with_name("unfinished")
    with open_journal(unfinished) as journal, progress_bar(title, len(keys)) as bar:
        for case, key in keys.items():
            entry = journal.find(case, key) or journal.note(case, key, files=make(case))
            digests[case] = key_of(*entry.files.values())
            bar.advance()
        write_text(manifest, Manifest(cases=digests).to_json())
