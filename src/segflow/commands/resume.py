"""Making a label map per case, and going on where an interrupted call of the same job stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from segflow.commands.console import progress_bar
from segflow.contracts.artefacts import Manifest
from segflow.storage.files import digest_of, write_text
from segflow.storage.ledger import ledger

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
    unfinished = manifest.with_name("unfinished.jsonl")
    with ledger(unfinished) as finished, progress_bar(title, len(keys)) as bar:
        for case, key in keys.items():
            noted = finished.find(case, key)
            if noted is None or not all(_is_whole(Path(file), digest) for file, digest in noted):
                noted = [[str(file), digest_of(file)] for file in make(case)]
                finished.note(case, key, noted)
            digests[case] = noted[0][1]
            bar.advance()
        write_text(manifest, Manifest(cases=digests).to_json())


def _is_whole(file: Path, digest: str) -> bool:
    return file.exists() and digest_of(file) == digest
