"""A data set on disk: what dataset.json says, and the files of its cases. Source: method.md section 2."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from segflow.contracts.case import Case, Dataset
from segflow.contracts.codec import Contract
from segflow.contracts.errors import MAX_ERRORS_SHOWN, DatasetError, first_of
from segflow.contracts.labels import Labels
from segflow.contracts.spelling import nfc, whole_number
from segflow.images.case_files import channel_files, check_name, files_by_case
from segflow.images.formats import ENDINGS, LOSSY_ENDINGS, companions, label_ending, largest_label, spelled
from segflow.storage.files import read_json

__all__ = ["check_reader", "list_files", "read_dataset", "read_description", "stray_labels"]

_REQUIRED = ("channel_names", "labels", "numTraining", "file_ending")
_IDENTIFIER = re.compile(r"[^./\\\0][^/\\\0]*")
_READER_KEY = "overwrite_image_reader_writer"
#: Readers of nnU-Net that read as segflow does.
_READERS = ("SimpleITKIO", "NaturalImage2DIO", "Tiff3DIO", "NibabelIO")
_REORIENTING_READERS = ("NibabelIOWithReorient", "SimpleITKIOWithReorient")


def read_dataset(folder: Path) -> Dataset:
    """List a labelled data set in the nnU-Net raw layout.

    Args:
        folder: Holds dataset.json, imagesTr and labelsTr.

    Returns:
        The data set, its cases sorted by identifier. No image is opened.

    Raises:
        DatasetError: dataset.json is missing or wrong, or names a reader that reads in another way; a channel or a
            label file is missing; the number of cases is not `numTraining`.

    Source: method.md sections 2, 4.
    """
    file = folder / "dataset.json"
    description, labels = read_description(file)
    check_reader(description.get(_READER_KEY), f"{file}: {_READER_KEY}")
    names = tuple(description["channel_names"].values())
    ending = description["file_ending"]
    if "dataset" in description:
        cases = _listed_cases(description["dataset"], folder, file)
    else:
        found = files_by_case(folder / "imagesTr", ending)
        cases = _complete_cases(found, channels=len(names), ending=ending, labels=folder / "labelsTr")
    declared = description["numTraining"]
    if declared != len(cases):
        raise DatasetError(
            f"{file}: numTraining is {declared}, but {len(cases)} cases were found; "
            "correct it or add the missing files"
        )
    folds_file = folder / "splits_final.json"
    return Dataset(
        folder=folder,
        name=str(description.get("name", Path(os.path.abspath(folder)).name)),  # noqa: PTH100  a link's own name
        channel_names=names,
        labels=labels,
        file_ending=ending,
        cases=cases,
        folds_file=folds_file if folds_file.exists() else None,
    )


def read_description(file: Path) -> tuple[dict[str, Any], Labels]:
    """Read dataset.json alone.

    Returns:
        Its content, with `channel_names` ("0", "1", ... to names, in this order) even where the file uses the old name
        `modality`; and its labels.

    Raises:
        DatasetError: The file is missing, not JSON, lacks a key, names an unknown format, or its channel names or
            labels are wrong.

    Source: method.md section 2.
    """
    description = read_json(file, error=DatasetError)
    if not isinstance(description, dict):
        raise DatasetError(f"{file} must hold a JSON object")
    if "modality" in description:
        description = {"channel_names": description["modality"]} | description
    missing = [key for key in _REQUIRED if key not in description]
    if missing and "training" in description:
        raise DatasetError(
            f"{file} is that of the Medical Segmentation Decathlon or of nnU-Net v1: call segflow import msd "
            f"{file.parent} --output FOLDER"
        )
    if missing:
        raise DatasetError(f"{file} lacks {', '.join(missing)}")
    if not isinstance(description["labels"], dict):
        raise DatasetError(f"{file}: labels must map names to values")
    ending = description["file_ending"]
    if not isinstance(ending, str) or ending.lower() not in ENDINGS:
        raise DatasetError(f"{file}: file_ending is {ending!r}; it must be one of {', '.join(ENDINGS)}")
    labels = Labels.from_json(description["labels"], description.get("regions_class_order"), where=str(file))
    most, limit = max(labels.values), largest_label(label_ending(ending))
    if most > limit:
        raise DatasetError(
            f"{file}: a {ending} file holds labels to {limit}, but labels go to {most}; use another file_ending"
        )
    declared, notes = _declared_cases(description["numTraining"], file)
    labels = replace(labels, notes=(*labels.notes, *notes))
    names = _channel_names(description["channel_names"], file)
    return description | labels.as_json | {"channel_names": names, "numTraining": declared}, labels


def _declared_cases(given: Any, file: Path) -> tuple[int, list[str]]:
    """`numTraining`, and a warning if it is not written as a whole number."""
    declared = whole_number(given)
    if declared is None or declared < 1:
        raise DatasetError(f"{file}: numTraining must be the number of training cases, found {given!r}")
    return declared, [] if type(given) is int else [
        f"{file}: numTraining {given!r} is read as {declared}; write it so"
    ]


def stray_labels(dataset: Dataset) -> tuple[Path, ...]:
    """Label files that belong to no case, sorted."""
    folder = dataset.folder / "labelsTr"
    known = {os.path.abspath(case.label) for case in dataset.cases if case.label is not None}  # noqa: PTH100
    files = sorted(folder.glob(f"[!.]*{label_ending(dataset.file_ending)}")) if folder.is_dir() else []
    return tuple(file for file in files if os.path.abspath(file) not in known)  # noqa: PTH100


def check_reader(name: object, where: str) -> None:
    """Refuse a reader of nnU-Net's that reads images in another way than segflow.

    Args:
        name: Of the class.
        where: The file and the key that name it, for the message.

    Raises:
        DatasetError: It re-orients images, or is unknown.

    Source: method.md sections 2, 3.
    """
    if name in _REORIENTING_READERS:
        raise DatasetError(
            f"{where} is {name}, but images are never re-oriented here: axes are taken in the order of the files; "
            "re-orient images and labels on disk, and remove the key"
        )
    if str(name) not in {"None", *_READERS}:
        raise DatasetError(
            f"{where} is {name!r}, which is no reader of nnU-Net's that reads as segflow does "
            f"({', '.join(_READERS)}); if the images can be read by their ending, remove the key"
        )


def list_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The files of a data set, case by case, without a check: that is for `segflow check`.

    Args:
        folder: Holds dataset.json.

    Returns:
        Identifier to files that exist, images first, sorted by identifier; with side files of pictures, and the files
        that headers (.mhd) name.

    Raises:
        DatasetError: dataset.json is missing or wrong, or there is no image at all.

    Source: method.md section 2.
    """
    file = folder / "dataset.json"
    description, _ = read_description(file)
    found: dict[str, list[Path]] = {}
    if "dataset" in description:
        for case in _listed_cases(description["dataset"], folder, file):
            found[case.identifier] = [*case.images, *filter(None, [case.label])]
    else:
        ending = description["file_ending"]
        for name, images in files_by_case(folder / "imagesTr", ending).items():
            check_name(name)
            label = spelled(folder / "labelsTr" / f"{name}{label_ending(ending)}")
            found[name] = [images[channel] for channel in sorted(images)] + [label] * label.exists()
    return {
        name: (*files, *dict.fromkeys(path for file in files for path in companions(file)))
        for name, files in found.items()
    }


def _channel_names(entry: Any, file: Path) -> dict[str, str]:
    """The names in the order of the channels, whatever that of the file."""
    numbers = [str(number) for number in range(len(entry))] if isinstance(entry, dict) else []
    if not numbers or set(entry) != set(numbers):
        raise DatasetError(f'{file}: channel_names must map "0", "1", ... to names, found {entry!r}')
    return {number: str(entry[number]) for number in numbers}


def _complete_cases(
    found: Mapping[str, Mapping[int, Path]], *, channels: int, ending: str, labels: Path
) -> tuple[Case, ...]:
    cases, faults = [], []
    for name, files in found.items():
        try:
            cases.append(Case(name, channel_files(name, files, channels), _label_file(name, ending, labels)))
        except DatasetError as problem:
            faults.append(str(problem))
    if faults:
        raise DatasetError("\n".join(first_of(faults, MAX_ERRORS_SHOWN)))
    return tuple(cases)


def _label_file(identifier: str, ending: str, folder: Path) -> Path:
    file = spelled(folder / f"{identifier}{label_ending(ending)}")
    if file.exists():
        return file
    lossy = folder / f"{identifier}{ending}"
    if ending.lower() in LOSSY_ENDINGS and lossy.exists():
        raise DatasetError(
            f"case {identifier}: label file {lossy} is JPEG, which changes values; labels beside {ending} images are "
            f"{label_ending(ending)} files: make {file} from the original"
        )
    raise DatasetError(f"case {identifier}: label file {file} is missing; add it or remove the image")


class _ListedCase(Contract):
    """An entry of "dataset"; paths are relative to the folder of dataset.json."""

    model_config = ConfigDict(extra="ignore")

    images: tuple[str, ...]
    label: str


class _Listing(Contract):
    dataset: dict[str, _ListedCase]


def _listed_cases(listing: Any, folder: Path, file: Path) -> tuple[Case, ...]:
    """Cases that dataset.json lists one by one."""
    found = _Listing.parse({"dataset": listing}, where=str(file), error=DatasetError).dataset
    listed = {nfc(name): case for name, case in found.items()}
    for name in listed:
        check_name(name)
        if not _IDENTIFIER.fullmatch(name):
            raise DatasetError(
                f'{file}: {name!r} under "dataset" cannot be a case\'s name, because files are named after it; '
                "it must not hold a slash or begin with a dot"
            )
    return tuple(
        Case(
            name,
            tuple(_listed_file(image, folder, file) for image in case.images),
            _listed_file(case.label, folder, file),
        )
        for name, case in sorted(listed.items())
    )


def _listed_file(text: str, folder: Path, file: Path) -> Path:
    found = folder / os.path.expandvars(text)
    try:
        exists = found.exists()
    except OSError as problem:
        raise DatasetError(f"{file}: {found} cannot be opened: {problem.strerror}") from None
    if not exists:
        raise DatasetError(f"{file}: {found} does not exist")
    return found
