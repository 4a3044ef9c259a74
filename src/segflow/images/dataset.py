"""Finding cases on disk: those of a data set, and those among images to predict. Source: method.md section 2."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from segflow.contracts.case import Case, Dataset
from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels
from segflow.contracts.spelling import nfc, whole_number
from segflow.images.formats import (
    ENDINGS,
    LOSSY_ENDINGS,
    companions,
    ending_of,
    label_ending,
    largest_label,
    spelled,
    split_name,
)
from segflow.storage.files import read_json

__all__ = [
    "Inputs",
    "check_reader",
    "find_inputs",
    "list_files",
    "read_dataset",
    "read_description",
    "stray_labels",
]

#: Of a case's name: those of its results are longer by their endings, and file systems allow 255.
MOST_BYTES = 200
_REQUIRED = ("channel_names", "labels", "numTraining", "file_ending")
_IDENTIFIER = re.compile(r"[^./\\\0][^/\\\0]*")
_READER_KEY = "overwrite_image_reader_writer"
#: Readers of nnU-Net that read as segflow does.
_READERS = ("SimpleITKIO", "NaturalImage2DIO", "Tiff3DIO", "NibabelIO")
_REORIENTING_READERS = ("NibabelIOWithReorient", "SimpleITKIOWithReorient")


@dataclass(frozen=True)
class Inputs:
    """Images to predict, by identifier, sorted: cases, and why others, whose files do not fit together, are none."""

    cases: dict[str, Case]
    faults: dict[str, str]


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
        found = _files_by_case(folder / "imagesTr", ending)
        cases = tuple(
            Case(
                name, _channel_files(name, files, len(names)), _label_file(name, ending, folder / "labelsTr")
            )
            for name, files in found.items()
        )
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
        n_declared=declared,
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


def find_inputs(paths: Sequence[Path], ending: str, channels: int) -> Inputs:
    """List the cases of one folder, or of single files.

    Files are named IDENTIFIER_0000.ending, IDENTIFIER_0001.ending, ..., one per channel. A single file may hold all
    channels, and may then also be called IDENTIFIER.ending, if it is named itself. With one channel, and if no name
    ends in _0000, each file is a case that has its whole name: IDENTIFIER.ending.

    Args:
        paths: One folder, or files of any format; those of a case may lie in several folders.
        ending: Of the files that count in a folder: the data set's.
        channels: How many the model was trained with.

    Raises:
        DatasetError: There are no images, or it is not clear which case a file belongs to.

    Source: method.md sections 2, 18.
    """
    folders = [path for path in paths if path.is_dir()]
    if folders and len(paths) > 1:
        raise DatasetError(f"{folders[0]} is a folder beside other input; give one folder, or files only")
    missing = next((path for path in paths if not path.exists()), None)
    if missing is not None:
        raise DatasetError(f"{missing} does not exist")
    given = _visible_files(folders[0], ending) if folders else paths
    if given and channels == 1 and all(split_name(file)[1] != 0 for file in given):
        found = _group_by_case(given, is_plain=True)
    else:
        found = _files_by_case(folders[0], ending) if folders else _group_by_case(given)
    cases, faults = {}, {}
    for name, files in sorted(found.items()):
        try:
            cases[name] = Case(name, _channel_files(name, files, channels), None)
        except DatasetError as problem:
            faults[name] = str(problem)
    return Inputs(cases, faults)


def stray_labels(dataset: Dataset) -> tuple[Path, ...]:
    """Label files that belong to no case, sorted."""
    folder = dataset.folder / "labelsTr"
    known = {case.label for case in dataset.cases}
    files = sorted(folder.glob(f"[!.]*{label_ending(dataset.file_ending)}")) if folder.is_dir() else []
    return tuple(file for file in files if file not in known)


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
            found[case.identifier] = [*case.images, *([case.label] if case.label else [])]
    else:
        ending = description["file_ending"]
        for name, images in _files_by_case(folder / "imagesTr", ending).items():
            _check_name(name)
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


def _files_by_case(folder: Path, ending: str) -> dict[str, dict[int, Path]]:
    """Image files of a folder: identifier, sorted, to channel number to file."""
    if not folder.is_dir():
        raise DatasetError(f"{folder} does not exist; images belong there as IDENTIFIER_0000{ending}")
    found = _group_by_case(file for file in _visible_files(folder, ending) if split_name(file)[1] is not None)
    if not found:
        raise DatasetError(f"{folder} holds no file named IDENTIFIER_0000{ending}")
    return dict(sorted(found.items()))


def _visible_files(folder: Path, ending: str) -> list[Path]:
    """Those of an ending, but not ._CASE_0000.nii.gz, which is what macOS leaves beside a file."""
    return [file for file in folder.iterdir() if file.name.endswith(ending) and not file.name.startswith(".")]


def _group_by_case(files: Iterable[Path], *, is_plain: bool = False) -> dict[str, dict[int, Path]]:
    """Image files: identifier, which is the whole name if that is plain, to channel number to file."""
    found: dict[str, dict[int, Path]] = defaultdict(dict)
    for file in files:
        if not ending_of(file):
            raise DatasetError(f"{file} is no image: its ending is none of {', '.join(ENDINGS)}")
        name, number = split_name(file)
        if is_plain and number is not None:
            name, number = f"{name}_{number:04d}", 0
        channel = number or 0
        if channel in found[name]:
            raise DatasetError(
                f"{file} and {found[name][channel]} are both channel {channel} of a case {name}; rename one, or "
                "predict them in two calls"
            )
        found[name][channel] = file
    for name, channels in found.items():
        endings = {ending_of(file) for file in channels.values()}
        if len(endings) > 1:
            raise DatasetError(
                f"the files of case {name} end in {' and '.join(sorted(endings))}; give one kind"
            )
    return found


def _entries(images: Any) -> Any:
    return images if isinstance(images, str) else list(images)


def _check_name(identifier: str) -> None:
    """Refuse names that libraries and JSON files, or the names of results, cannot hold."""
    if len(os.fsencode(identifier)) > MOST_BYTES:
        raise DatasetError(f"case {identifier}: its name is longer than {MOST_BYTES} bytes; rename its files")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in identifier):
        raise DatasetError(
            f"case {identifier!a}: its name is not UTF-8, or has control characters; rename its files"
        )


def _channel_files(identifier: str, files: Mapping[int, Path], channels: int) -> tuple[Path, ...]:
    """A case's files in the order of channels; one file may hold all of them.

    Source: method.md section 2; gaps in the channel numbers, which nnU-Net overlooks, are errors here.
    """
    _check_name(identifier)
    expected = range(channels if len(files) > 1 else 1)
    missing = [number for number in expected if number not in files]
    surplus = [number for number in files if number not in expected]
    example = next(iter(files.values()))
    if missing:
        numbers = ", ".join(f"_{number:04d}" for number in missing)
        raise DatasetError(
            f"case {identifier}: channel {numbers} is missing in {example.parent} (beside {example.name}); "
            f"dataset.json names {channels} channels"
        )
    if surplus:
        raise DatasetError(
            f"case {identifier}: {files[surplus[0]]} is one channel too many; dataset.json names {channels}"
        )
    return tuple(files[number] for number in sorted(files))


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


def _listed_cases(listing: Any, folder: Path, file: Path) -> tuple[Case, ...]:
    """Cases that dataset.json lists one by one; paths are relative to its folder."""
    path = partial(_listed_file, folder=folder, file=file)

    try:
        listed = {
            nfc(str(name)): (_entries(entry["images"]), entry["label"]) for name, entry in listing.items()
        }
    except (AttributeError, KeyError, TypeError):
        raise DatasetError(
            f'{file}: "dataset" must map identifiers to {{"images": [...], "label": ...}}'
        ) from None
    for name, (images, _) in listed.items():
        _check_name(name)
        if isinstance(images, str):
            raise DatasetError(
                f'{file}: "images" of {name} is the text {images!r}; write a list, with a file per channel'
            )
        if not _IDENTIFIER.fullmatch(name):
            raise DatasetError(
                f'{file}: {name!r} under "dataset" cannot be a case\'s name, because files are named after it; '
                "it must not hold a slash or begin with a dot"
            )
    return tuple(
        Case(name, tuple(path(image) for image in images), path(label))
        for name, (images, label) in sorted(listed.items())
    )


def _listed_file(text: Any, *, folder: Path, file: Path) -> Path:
    if not isinstance(text, str):
        raise DatasetError(f'{file}: {text!r} under "dataset" is no path')
    found = folder / os.path.expandvars(text)
    try:
        exists = found.exists()
    except OSError as problem:
        raise DatasetError(f"{file}: {found} cannot be opened: {problem.strerror}") from None
    if not exists:
        raise DatasetError(f"{file}: {found} does not exist")
    return found
