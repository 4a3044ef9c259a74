"""Finding a data set on disk: dataset.json and the files of every case. Source: method.md section 2."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segflow.contracts.case import Case, Dataset
from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels
from segflow.images.formats import ENDINGS, LOSSY_ENDINGS, companions, label_ending
from segflow.storage.files import read_json

__all__ = [
    "channel_files",
    "channel_names",
    "files_by_case",
    "find_cases",
    "list_files",
    "read_dataset",
    "read_description",
    "reader_warnings",
    "stray_labels",
]

_REQUIRED = ("channel_names", "labels", "numTraining", "file_ending")
_MULTI_CHANNEL = 1  # one file may hold all channels (RGB); more than one file must be one per channel
_IDENTIFIER = re.compile(r"[^./\\\0][^/\\\0]*")
_READER_KEY = "overwrite_image_reader_writer"
_READERS = (
    "SimpleITKIO",
    "NaturalImage2DIO",
    "Tiff3DIO",
    "NibabelIO",
)  # the peer's; ours reads what any of them does
_REORIENTING_READERS = ("NibabelIOWithReorient", "SimpleITKIOWithReorient")


def read_dataset(folder: Path) -> Dataset:
    """List a labelled data set in the nnU-Net raw layout.

    Args:
        folder: Holds dataset.json, imagesTr and labelsTr.

    Returns:
        The data set, its cases sorted by identifier. No image is opened.

    Raises:
        DatasetError: dataset.json is missing or wrong; a channel or a label file is missing; the number of
            cases is not `numTraining`.

    Source: method.md sections 2, 4.
    """
    file = folder / "dataset.json"
    description, labels = read_description(file)
    names = channel_names(description["channel_names"], file)
    ending = str(description["file_ending"])
    cases = (
        _mapped_cases(description["dataset"], folder, file)
        if "dataset" in description
        else find_cases(folder / "imagesTr", ending, len(names), labels=folder / "labelsTr")
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
        name=str(description.get("name", folder.resolve().name)),
        channel_names=names,
        labels=labels,
        file_ending=ending,
        n_declared=declared,
        cases=cases,
        folds_file=folds_file if folds_file.exists() else None,
    )


def read_description(file: Path) -> tuple[dict[str, Any], Labels]:
    """Read dataset.json alone.

    Args:
        file: dataset.json.

    Returns:
        Its content, with `channel_names` even where the file uses the old name `modality`; and its labels.

    Raises:
        DatasetError: The file is missing, not JSON, lacks a key, names an unknown format, or its labels are wrong.

    Source: method.md section 2.
    """
    description = read_json(file, error=DatasetError)
    if not isinstance(description, dict):
        raise DatasetError(f"{file} must hold a JSON object")
    if "modality" in description:
        description = {
            **description,
            "channel_names": description.get("channel_names", description["modality"]),
        }
    missing = [key for key in _REQUIRED if key not in description]
    if missing:
        raise DatasetError(f"{file} lacks {', '.join(missing)}")
    if not isinstance(description["labels"], dict):
        raise DatasetError(f"{file}: labels must map names to values")
    ending = description["file_ending"]
    if not isinstance(ending, str) or ending.lower() not in ENDINGS:
        raise DatasetError(f"{file}: file_ending is {ending!r}; it must be one of {', '.join(ENDINGS)}")
    order = description.get("regions_class_order")
    return description, Labels.from_json(description["labels"], order, where=str(file))


def find_cases(folder: Path, ending: str, channels: int, *, labels: Path | None = None) -> tuple[Case, ...]:
    """List the cases of an image folder.

    Args:
        folder: Holds files named IDENTIFIER_0000.ending, one per channel.
        ending: With its dot.
        channels: How many channels every case must have (one file may hold them all).
        labels: Folder of the label files IDENTIFIER.ending (.png beside JPEG), if the cases are labelled.

    Returns:
        Cases sorted by identifier.

    Raises:
        DatasetError: No images, a missing channel, or a missing label.

    Source: method.md section 2; gaps in the channel numbers, which the peer overlooks, are errors here.
    """
    found = files_by_case(folder, ending)
    return tuple(
        Case(name, channel_files(name, found[name], channels, folder), _label_file(name, ending, labels))
        for name in sorted(found)
    )


def files_by_case(folder: Path, ending: str) -> dict[str, dict[int, Path]]:
    """Image files of a folder: identifier to channel number to file.

    Raises:
        DatasetError: There is no such folder, or no image in it.

    Source: method.md section 2.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} does not exist; images belong there as IDENTIFIER_0000{ending}")
    # not hidden files: ._CASE_0000.nii.gz is what macOS leaves beside a file
    pattern = re.compile(rf"(?P<identifier>[^.].*)_(?P<channel>[0-9]{{4}}){re.escape(ending)}")
    found: dict[str, dict[int, Path]] = defaultdict(dict)
    for file in folder.iterdir():
        match = pattern.fullmatch(file.name)
        if match:
            found[match["identifier"]][int(match["channel"])] = file
    if not found:
        raise DatasetError(f"{folder} holds no file named IDENTIFIER_0000{ending}")
    return found


def stray_labels(dataset: Dataset) -> tuple[Path, ...]:
    """Label files that belong to no case, sorted."""
    folder = dataset.folder / "labelsTr"
    known = {case.label for case in dataset.cases}
    files = sorted(folder.glob(f"[!.]*{label_ending(dataset.file_ending)}")) if folder.is_dir() else []
    return tuple(file for file in files if file not in known)


def reader_warnings(folder: Path) -> tuple[str, ...]:
    """What the entry `overwrite_image_reader_writer` asks for in vain.

    Args:
        folder: Holds dataset.json.

    Returns:
        At most one line.

    Raises:
        DatasetError: dataset.json is missing or wrong.

    Source: method.md sections 2, 3.
    """
    file = folder / "dataset.json"
    name = str(read_description(file)[0].get(_READER_KEY))
    if name in {"None", *_READERS}:
        return ()
    if name in _REORIENTING_READERS:
        return (
            f"{file}: {_READER_KEY} is {name}, but images are never re-oriented here: axes are taken in the order of "
            "the files; if cases differ in orientation, re-orient images and labels on disk",
        )
    return (
        f"{file}: {_READER_KEY} is {name!r}, which is unknown and left aside; file_ending chooses the reader",
    )


def list_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """What files a data set has, case by case, without judging them: that is for `segflow check`.

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
    if "dataset" in description:
        cases = _mapped_cases(description["dataset"], folder, file)
        found = {case.identifier: [*case.images, *([case.label] if case.label else [])] for case in cases}
    else:
        ending = str(description["file_ending"])
        images = files_by_case(folder / "imagesTr", ending)
        labels = {name: folder / "labelsTr" / f"{name}{label_ending(ending)}" for name in images}
        found = {
            name: [*sorted(images[name].values()), *([labels[name]] if labels[name].exists() else [])]
            for name in sorted(images)
        }
    return {name: (*files, *_all_companions(files)) for name, files in found.items()}


def _all_companions(files: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(path for file in files for path in companions(file)))


def channel_files(
    identifier: str, files: Mapping[int, Path], channels: int, folder: Path
) -> tuple[Path, ...]:
    """A case's files in the order of channels; one file may hold all of them.

    Raises:
        DatasetError: A channel is missing, or there is one too many.

    Source: method.md section 2.
    """
    expected = range(channels if len(files) > _MULTI_CHANNEL else 1)
    missing = [number for number in expected if number not in files]
    surplus = [number for number in files if number not in expected]
    example = next(iter(files.values())).name
    if missing:
        numbers = ", ".join(f"_{number:04d}" for number in missing)
        raise DatasetError(
            f"case {identifier}: channel {numbers} is missing in {folder} (beside {example}); "
            f"dataset.json names {channels} channels"
        )
    if surplus:
        raise DatasetError(
            f"case {identifier}: {files[surplus[0]]} is one channel too many; dataset.json names {channels}"
        )
    return tuple(files[number] for number in sorted(files))


def _label_file(identifier: str, ending: str, folder: Path | None) -> Path | None:
    if folder is None:
        return None
    file = folder / f"{identifier}{label_ending(ending)}"
    if file.exists():
        return file
    lossy = folder / f"{identifier}{ending}"
    if ending.lower() in LOSSY_ENDINGS and lossy.exists():
        raise DatasetError(
            f"case {identifier}: label file {lossy} is JPEG, which changes values; labels beside {ending} images are "
            f"{label_ending(ending)} files: make {file} from the original"
        )
    raise DatasetError(f"case {identifier}: label file {file} is missing; add it or remove the image")


def _mapped_cases(mapping: Any, folder: Path, file: Path) -> tuple[Case, ...]:
    """Cases that dataset.json lists one by one; paths are relative to its folder."""

    def path(text: Any) -> Path:
        if not isinstance(text, str):
            raise DatasetError(f'{file}: {text!r} under "dataset" is no path')
        found = folder / os.path.expandvars(text)
        if not found.exists():
            raise DatasetError(f"{file}: {found} does not exist")
        return found

    try:
        listed = {str(name): (list(entry["images"]), entry["label"]) for name, entry in mapping.items()}
    except (AttributeError, KeyError, TypeError):
        raise DatasetError(
            f'{file}: "dataset" must map identifiers to {{"images": [...], "label": ...}}'
        ) from None
    unfit = [name for name in listed if not _IDENTIFIER.fullmatch(name)]
    if unfit:
        raise DatasetError(
            f'{file}: {unfit[0]!r} under "dataset" cannot be a case\'s name, because files are named after it; '
            "it must not hold a slash or begin with a dot"
        )
    return tuple(
        Case(name, tuple(path(image) for image in images), path(label))
        for name, (images, label) in sorted(listed.items())
    )


def channel_names(entry: Any, file: Path) -> tuple[str, ...]:
    """In the order of the channels, whatever that of the file.

    Args:
        entry: Of dataset.json: "0", "1", ... to names.
        file: For the message.

    Raises:
        DatasetError: It is something else.

    Source: method.md section 2.

    """
    names: Sequence[Any] = ()
    if isinstance(entry, dict) and set(entry) == {str(i) for i in range(len(entry))}:
        names = [entry[str(i)] for i in range(len(entry))]
    if not names:
        raise DatasetError(f'{file}: channel_names must map "0", "1", ... to names, found {entry!r}')
    return tuple(str(name) for name in names)
