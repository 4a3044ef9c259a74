"""Where the files of a model package lie, and whether they are those that were packaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from segflow.contracts.errors import DatasetError, PredictionError
from segflow.contracts.model import ModelCard
from segflow.contracts.plan import FoldName
from segflow.storage.files import copy_file, digests_of, read_contract, read_json, write_json

__all__ = [
    "CARD",
    "CODES",
    "FINGERPRINT",
    "MODEL_CARD",
    "PLAIN",
    "check_package",
    "copied",
    "copy_description",
    "copy_package",
    "read_card",
    "refuse_package",
    "weights_file",
    "weights_files",
]

#: What a package is and how it was chosen.
CARD: Final = "model.json"
#: Files beside it that prediction needs.
PLAIN: Final = ("dataset.json", "plans.json")
#: Files that it does without.
FINGERPRINT: Final = "dataset_fingerprint.json"
CODES: Final = "codes.csv"
MODEL_CARD: Final = "README.md"
#: Keys of dataset.json that list a data set's files, whose folders are no business of a package's reader.
_FILES: Final = frozenset({"dataset", "training", "test"})


def read_card(folder: Path) -> ModelCard:
    """model.json of a package.

    Raises:
        PredictionError: It is missing or cannot be understood.
    """
    return read_contract(ModelCard, folder / CARD, error=PredictionError)


def refuse_package(folder: Path) -> None:
    """Refuse a folder for a new package that holds one, of which files would stay.

    Raises:
        PredictionError: It does.
    """
    if (folder / CARD).exists():
        raise PredictionError(f"{folder} holds a model package already; remove it, or name another folder")


def weights_file(folder: Path, configuration: str, fold: FoldName) -> Path:
    """Where a network of a package is written."""
    return folder / configuration / f"fold_{fold}.safetensors"


def weights_files(
    folder: Path, card: ModelCard, wanted: Sequence[FoldName] | None = None
) -> dict[str, list[Path]]:
    """The files of a package's networks by configuration, stages of a cascade first.

    Packages of earlier versions have files of torch, fold_0.pt.

    Args:
        folder: Of the package.
        card: Its model.json.
        wanted: Only these folds (default: all packed).

    Raises:
        PredictionError: The package has no such fold.
    """
    missing = [fold for fold in wanted or () if fold not in card.folds]
    if missing:
        raise PredictionError(
            f"the model package {folder} has no fold {missing[0]}; it has {', '.join(map(str, card.folds))}"
        )
    folds = dict.fromkeys(wanted or card.folds)
    names = (*card.stages, *card.configurations)
    files = {name: [weights_file(folder, name, fold) for fold in folds] for name in names}
    return {name: [_old(file) or file for file in found] for name, found in files.items()}


def _old(file: Path) -> Path | None:
    old = file.with_suffix(".pt")
    return old if old.exists() and not file.exists() else None


def check_package(folder: Path, card: ModelCard, weights: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """Digests of the files that prediction needs, by their paths in the package.

    Raises:
        PredictionError: A file is missing or has changed since it was packaged.
    """
    files = [*(folder / name for name in PLAIN), *(file for found in weights.values() for file in found)]
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise PredictionError(f"{missing} does not exist; copy {folder} again")
    found = digests_of(folder, files)
    changed = next((name for name in found if card.files and card.files.get(name) != found[name]), None)
    if changed is not None:
        raise PredictionError(
            f"{folder / changed} is not the file that {folder} was made with, or is damaged; copy {folder} again"
        )
    return found


def copy_package(source: Path, target: Path) -> None:
    """Copy a package; model.json comes last.

    Raises:
        PredictionError: A file is missing or has changed since it was packaged, or the target holds a package.
    """
    refuse_package(target)
    card = read_card(source)
    needed = check_package(source, card, weights_files(source, card))
    copied(source, target, (*needed, FINGERPRINT, CODES, MODEL_CARD, CARD))


def copied(source: Path, target: Path, names: Sequence[str]) -> list[Path]:
    """Copy the files that exist; prediction does not need all of them."""
    found = [name for name in names if (source / name).exists()]
    for name in found:
        copy_file(source / name, target / name)
    return [target / name for name in found]


def copy_description(source: Path, target: Path) -> dict[str, Any]:
    """Copy a dataset.json without the lists of its files, and return what is written."""
    found = {key: value for key, value in read_json(source, error=DatasetError).items() if key not in _FILES}
    write_json(target, found)
    return found
