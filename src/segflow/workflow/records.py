"""What Snakemake remembers of each result (its parameters, code and inputs), kept beside the results as well.

Snakemake keeps it in `.snakemake` of the folder it is called in. Where that is lost, a change of a parameter made since
would go unseen.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

__all__ = ["keep_records", "recover_records"]

_LIVE = Path(".snakemake", "metadata")


def keep_records(results: Path, *, live: Path = _LIVE) -> None:
    """Copy what Snakemake remembers of these results to their folder `records`.

    Args:
        results: The folder of all results.
        live: Where Snakemake keeps its records, a file per result.
    """
    kept = results / "records"
    fresh = results / "records.new"
    shutil.rmtree(fresh, ignore_errors=True)
    _copy(live, fresh, results)
    shutil.rmtree(kept, ignore_errors=True)
    fresh.rename(kept)


def recover_records(results: Path, *, live: Path = _LIVE) -> bool:
    """Give Snakemake its records back, if it has none at all.

    Args:
        results: The folder of all results.
        live: Where Snakemake keeps its records.

    Returns:
        Whether that was done.
    """
    kept = results / "records"
    if next(_files(live), None) is not None or not kept.is_dir():
        return False
    _copy(kept, live, results)
    return True


def _copy(source: Path, target: Path, results: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in _files(source):
        name = file.relative_to(source)
        if _result_of(name).is_relative_to(results):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / name)


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.is_file())


def _result_of(name: Path) -> Path:
    """Snakemake names a record by its result, in base 64; long names are broken into folders that begin with @."""
    text = "".join(part.removeprefix("@") for part in name.parts)
    try:
        return Path(base64.urlsafe_b64decode(text).decode())
    except ValueError:
        return Path(text)
