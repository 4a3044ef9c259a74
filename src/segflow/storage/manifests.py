"""Manifests: the prepared cases of a configuration, per chunk and in total, and the label maps of a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from segflow.contracts.artefacts import Manifest, PreparedData
from segflow.contracts.errors import PlanError, PredictionError
from segflow.storage.files import changed_file, digests_of, read_contract, write_text

__all__ = ["digests_of_cases", "list_label_maps", "read_prepared", "write_prepared"]


def write_prepared(path: Path, manifests: Sequence[Path]) -> None:
    """Write one small file for the manifests of all chunks, which lie in or below its folder."""
    n_cases = sum(len(read_contract(Manifest, file).cases) for file in manifests)
    chunks = digests_of(path.parent, sorted(manifests))
    write_text(path, PreparedData(cases=n_cases, chunks=chunks).to_json())


def read_prepared(path: Path) -> dict[str, str]:
    """All prepared cases of a file that `write_prepared` wrote.

    Returns:
        Identifier to SHA-256 of what is stored.

    Raises:
        PlanError: A file is missing or invalid, or a chunk has changed since.
    """
    chunks = read_contract(PreparedData, path).chunks
    changed = changed_file(path.parent, chunks)
    if changed is not None:
        raise PlanError(f"{changed} is not the file that {path} was made from; run the workflow again")
    cases: dict[str, str] = {}
    for name in chunks:
        cases |= read_contract(Manifest, path.parent / name).cases
    return cases


def digests_of_cases(cases: Collection[str], prepared: Path, previous_stage: Path | None) -> dict[str, str]:
    """Digests of some prepared cases.

    Args:
        cases: Their identifiers.
        prepared: A file that `write_prepared` wrote.
        previous_stage: Manifest of the previous stage's labels, which count too (cascade).

    Raises:
        PlanError: As of `read_prepared`, or a case or its labels are missing.
    """
    found = read_prepared(prepared)
    labels = (
        dict.fromkeys(found, "") if previous_stage is None else read_contract(Manifest, previous_stage).cases
    )
    for case in cases:
        if case not in found:
            raise PlanError(f"case {case} is in the folds, but has not been prepared ({prepared})")
        if case not in labels:
            raise PlanError(
                f"case {case} has no labels of the previous stage ({previous_stage}); hold it out in a fold"
            )
    return {case: found[case] + labels[case] for case in cases}


def list_label_maps(folders: Iterable[Path], ending: str) -> list[Path]:
    """The label maps of folders with a file ending such as ".nii.gz", sorted by name within each.

    If a folder has a manifest.json, only the cases named there count, since others are of an earlier run. Hidden files
    are unfinished ones.

    Raises:
        PlanError: A manifest is invalid.
        PredictionError: There are none and no manifest says so, or two have the same name.
    """
    folders = list(folders)
    files = [file for folder in folders for file in _label_maps_of(folder, ending)]
    named = ", ".join(map(str, folders))
    if not files and not any((folder / "manifest.json").exists() for folder in folders):
        raise PredictionError(f"{named}: there are no label maps (*{ending})")
    for name, times in Counter(file.name for file in files).items():
        if times > 1:
            raise PredictionError(f"{named}: {name} is there {times} times; each case counts once")
    return files


def _label_maps_of(folder: Path, ending: str) -> list[Path]:
    manifest = folder / "manifest.json"
    if manifest.exists():
        return [folder / f"{case}{ending}" for case in sorted(read_contract(Manifest, manifest).cases)]
    return sorted(folder.glob(f"[!.]*{ending}"))
