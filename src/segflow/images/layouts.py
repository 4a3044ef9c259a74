"""Data sets in other layouts than nnU-Net v2's raw one: lists of cases by their files, which stay where they are."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from segflow.contracts.errors import DatasetError
from segflow.contracts.spelling import nfc, whole_number
from segflow.images.cases import read_image, read_labels
from segflow.images.formats import NIFTI_ENDINGS, ending_of
from segflow.images.patients import read_rows
from segflow.storage.files import read_json

__all__ = ["FoundCase", "Layout", "labels_in", "read_bids", "read_decathlon", "read_table"]

_ENTITIES: Final = re.compile(
    r"(?P<subject>sub-[^_]+)(?:_(?P<session>ses-[^_]+))?(?:_[^_]+)*_(?P<suffix>[^_]+)"
)
_IMAGE_COLUMN: Final = "image_"


@dataclass(frozen=True)
class FoundCase:
    """A labelled case.

    Attributes:
        images: A file per channel, or one that holds all.
        label: Its label map.
        patient: Whose it is, if that is known.
        fold: That holds it out, if that is given.
    """

    images: tuple[Path, ...]
    label: Path
    patient: str | None = None
    fold: int | None = None


@dataclass(frozen=True)
class Layout:
    """What a data set in another layout says of itself.

    Attributes:
        channels: Names, in order.
        labels: Name to value, background first.
        cases: By identifier.
        about: Entries of its description that are kept, such as its licence.
    """

    channels: tuple[str, ...]
    labels: Mapping[str, int]
    cases: Mapping[str, FoundCase]
    about: Mapping[str, Any] = field(default_factory=dict)


def read_decathlon(folder: Path) -> Layout:
    """A task of the Medical Segmentation Decathlon, or of nnU-Net's first version.

    dataset.json lists the training cases. In the Decathlon each has one file, which may hold several channels (4D);
    nnU-Net's first version has CASE_0000.nii.gz, CASE_0001.nii.gz, ... in place of the CASE.nii.gz that is listed.

    Raises:
        DatasetError: dataset.json is missing or does not list cases, channels and labels, or a file is missing.
    """
    file = folder / "dataset.json"
    found = read_json(file, error=DatasetError)
    try:
        channels = tuple(str(found["modality"][str(i)]) for i in range(len(found["modality"])))
        values = {int(value): str(name) for value, name in found["labels"].items()}
        listed = [(str(entry["image"]), str(entry["label"])) for entry in found["training"]]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise DatasetError(
            f'{file} is not that of the Decathlon or of nnU-Net v1: it needs "modality" and "labels", both from '
            'numbers to names, and "training", a list of {"image": ..., "label": ...}'
        ) from None
    cases = {}
    for image, label in listed:
        path = folder / image
        name = nfc(path.name[: -len(ending_of(path))] if ending_of(path) else path.name)
        if name in cases:
            raise DatasetError(f"{file}: there are two cases {name}; rename the files of one")
        cases[name] = FoundCase(_channel_files(path, len(channels)), _existing(folder / label, name))
    about = {key: found[key] for key in ("name", "description", "reference", "licence") if key in found}
    return Layout(channels, _by_name(values, file), cases, about)


def _channel_files(image: Path, channels: int) -> tuple[Path, ...]:
    ending = ending_of(image)
    stem = image.name[: len(image.name) - len(ending)]
    split = tuple(image.with_name(f"{stem}_{i:04d}{ending}") for i in range(channels))
    if not image.exists() and split[0].exists():
        return tuple(_existing(file, stem) for file in split)
    return (_existing(image, stem),)


def _by_name(values: Mapping[int, str], file: Path) -> dict[str, int]:
    """Labels from their names, in the order of the values; the first is called background."""
    named = {("background" if value == 0 else name): value for value, name in sorted(values.items())}
    if len(named) < len(values) or 0 not in values:
        raise DatasetError(
            f"{file}: labels need a name each, and 0 must be the background: found {dict(values)}"
        )
    return named


def _existing(file: Path, case: str) -> Path:
    if not file.exists():
        raise DatasetError(
            f"case {case}: {file} does not exist; restore it, or remove the case from the list"
        )
    return file


def read_bids(folder: Path, *, channels: Sequence[str] = (), label: str = "") -> Layout:
    """A data set in the Brain Imaging Data Structure, with label maps in derivatives/labels.

    A case is a session of a subject that has a label map; a subject is a patient. The names of the labels come from
    a table with the columns index and name (dseg.tsv) in derivatives/labels.

    Args:
        folder: With sub-... folders.
        channels: Suffixes of the images, such as T1w; by default those that every labelled session has once.
        label: Of several label maps of a session, the one whose name contains this.

    Raises:
        DatasetError: There are no label maps, a session has several or lacks an image, or no suffix is common to all.

    Source: Gorgolewski et al. 2016, "The brain imaging data structure".
    """
    maps = _sessions(folder / "derivatives" / "labels", containing=label)
    if not maps:
        raise DatasetError(
            f"{folder / 'derivatives' / 'labels'} holds no label map sub-....nii.gz; put them there"
        )
    images = _sessions(folder, containing="", leave_out=folder / "derivatives")
    suffixes = tuple(channels) or _common_suffixes(images, maps)
    cases = {}
    for session, found in maps.items():
        name = "_".join(filter(None, session))
        files = [file for several in found.values() for file in several]
        if len(files) > 1:
            names = ", ".join(sorted(file.name for file in files))
            raise DatasetError(
                f"case {name}: there are several label maps ({names}); choose them with --label TEXT"
            )
        own = tuple(_only(images.get(session, {}).get(suffix, []), name, suffix) for suffix in suffixes)
        cases[name] = FoundCase(own, files[0], patient=session[0])
    table = next(iter(sorted((folder / "derivatives" / "labels").rglob("*dseg.tsv"))), None)
    labels = _label_table(table) if table else labels_in(one.label for one in cases.values())
    return Layout(suffixes, labels, cases)


_Session = tuple[str, str]


def _sessions(
    folder: Path, *, containing: str, leave_out: Path | None = None
) -> dict[_Session, dict[str, list[Path]]]:
    """NIfTI files by subject and session, and by suffix."""
    found: dict[_Session, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted(folder.rglob("sub-*")):
        ending = ending_of(file)
        match = _ENTITIES.fullmatch(file.name[: len(file.name) - len(ending)])
        inside = leave_out is not None and leave_out in file.parents
        if ending in NIFTI_ENDINGS and match and containing in file.name and not inside:
            found[match["subject"], match["session"] or ""][match["suffix"]].append(file)
    return {session: dict(files) for session, files in found.items()}


def _common_suffixes(
    images: Mapping[_Session, Mapping[str, Sequence[Path]]], maps: Mapping[_Session, object]
) -> tuple[str, ...]:
    common = [
        {suffix for suffix, files in images.get(session, {}).items() if len(files) == 1} for session in maps
    ]
    found = tuple(sorted(set.intersection(*common)))
    if not found:
        raise DatasetError(
            "no kind of image is there once in every labelled session; name some: --channels T1w"
        )
    return found


def _only(files: Sequence[Path], case: str, suffix: str) -> Path:
    if len(files) != 1:
        said = ", ".join(file.name for file in files) or "none"
        raise DatasetError(f"case {case}: it needs one image ..._{suffix}.nii.gz, found {said}")
    return files[0]


def _label_table(file: Path) -> dict[str, int]:
    _, rows = read_rows(file, "\t", ("index", "name"))
    numbered = ((whole_number(row["index"]), row["name"]) for row in rows)
    values = {number: name for number, name in numbered if number is not None}
    if len(values) < len(rows):
        raise DatasetError(f"{file}: each index must be another whole number")
    return _by_name({0: "background"} | values, file)


def labels_in(files: Iterable[Path]) -> dict[str, int]:
    """Names such as "label 1" for the values that label maps hold."""
    values: set[int] = set()
    for file in files:
        values |= set(pd.unique(read_labels(file, case=file.name).ravel()).tolist())
    return {"background": 0} | {f"label {value}": value for value in sorted(values - {0})}


def read_table(file: Path) -> Layout:
    """Cases from a CSV file.

    Columns: image_NAME for each channel, label, and if wanted case (default: the label map's name), patient and fold
    (from 0; that holds the case out). Paths are relative to the file's folder. Labels are named by their values.

    Raises:
        DatasetError: A column or file is missing, a case is there twice, a cell is empty, or a fold is no number.
    """
    names, rows = read_rows(file, ",", ("label",))
    columns = [name for name in names if name.startswith(_IMAGE_COLUMN)]
    if not columns:
        raise DatasetError(f"{file} needs one or more columns {_IMAGE_COLUMN}NAME; found {', '.join(names)}")
    cases: dict[str, FoundCase] = {}
    for number, row in enumerate(rows, start=2):
        if empty := [name for name in (*columns, "label") if not row[name]]:
            raise DatasetError(
                f"{file}, line {number}: column {empty[0]} is empty; fill it, or remove the line"
            )
        label = file.parent / row["label"]
        name = nfc(row.get("case") or label.name[: len(label.name) - len(ending_of(label))])
        if name in cases:
            raise DatasetError(
                f"{file}, line {number}: there are two cases {name}; name them in a column case"
            )
        text = row.get("fold") or None
        fold = whole_number(text)
        if text is not None and (fold is None or fold < 0):
            raise DatasetError(f"{file}, line {number}: fold must be a number from 0, found {text!r}")
        cases[name] = FoundCase(
            tuple(_existing(file.parent / row[column], name) for column in columns),
            _existing(label, name),
            patient=row.get("patient") or None,
            fold=fold,
        )
    channels = tuple(column.removeprefix(_IMAGE_COLUMN) for column in columns)
    if cases and len(columns) == 1:  # a file may hold all channels, as pictures in colour do
        name, first = next(iter(cases.items()))
        n = len(read_image(first.images, case=name)[0])
        channels = channels if n == 1 else tuple(f"{channels[0]}_{number}" for number in range(n))
    return Layout(channels, labels_in(one.label for one in cases.values()), cases)
