"""Which files make up a case, of a data set or to be predicted: by their names. Source: method.md section 2."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segflow.contracts.case import Case
from segflow.contracts.errors import DatasetError
from segflow.images.formats import ENDINGS, ending_of, split_name

__all__ = ["Inputs", "channel_files", "check_name", "files_by_case", "find_inputs"]

#: Of a case's name: those of its results are longer by their endings, and file systems allow 255.
_MOST_BYTES = 200


@dataclass(frozen=True)
class Inputs:
    """Images to predict, by identifier, sorted: cases, and why others, whose files do not fit together, are none.

    And images of the folder that are left out, since their format is another.
    """

    cases: dict[str, Case]
    faults: dict[str, str]
    others: tuple[Path, ...] = ()


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
    others = sorted({*_visible_files(folders[0], ENDINGS)} - {*given}) if folders else ()
    is_plain = channels == 1 and all(split_name(file)[1] != 0 for file in given)
    if folders and given and not is_plain and all(split_name(file)[1] is None for file in given):
        raise DatasetError(
            f"{folders[0]} holds no file named IDENTIFIER_0000{ending}, and the model has {channels} channels; name "
            f"files that hold all of them one by one, as {folders[0]}/*{ending}"
        )
    if given and is_plain:
        found = _group_by_case(given, is_plain=True)
    else:
        found = files_by_case(folders[0], ending) if folders else _group_by_case(given)
    cases, faults = {}, {}
    for name, files in sorted(found.items()):
        try:
            cases[name] = Case(name, channel_files(name, files, channels), None)
        except DatasetError as problem:
            faults[name] = str(problem)
    unnumbered = [file for file in given if split_name(file)[1] is None] if folders and not is_plain else []
    for file in unnumbered:
        name = split_name(file)[0]
        faults.setdefault(name, f"case {name}: {file} has no channel number; name it {name}_0000{ending}")
    return Inputs(cases, faults, tuple(others))


def files_by_case(folder: Path, ending: str) -> dict[str, dict[int, Path]]:
    """Image files of a folder: identifier, sorted, to channel number to file."""
    if not folder.is_dir():
        raise DatasetError(f"{folder} does not exist; images belong there as IDENTIFIER_0000{ending}")
    found = _group_by_case(file for file in _visible_files(folder, ending) if split_name(file)[1] is not None)
    if not found:
        raise DatasetError(f"{folder} holds no file named IDENTIFIER_0000{ending}")
    return dict(sorted(found.items()))


def _visible_files(folder: Path, endings: str | tuple[str, ...]) -> list[Path]:
    """Those of an ending, but not ._CASE_0000.nii.gz, which is what macOS leaves beside a file."""
    return [
        file for file in folder.iterdir() if file.name.endswith(endings) and not file.name.startswith(".")
    ]


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


def check_name(identifier: str) -> None:
    """Refuse names that libraries and JSON files, or the names of results, cannot hold."""
    if len(os.fsencode(identifier)) > _MOST_BYTES:
        raise DatasetError(
            f"case {identifier}: its name is longer than {_MOST_BYTES} bytes; rename its files"
        )
    if identifier == "prepared":
        raise DatasetError("case prepared: a file of the results has this name; rename the files of the case")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in identifier):
        raise DatasetError(
            f"case {identifier!a}: its name is not UTF-8, or has control characters; rename its files"
        )


def channel_files(identifier: str, files: Mapping[int, Path], channels: int) -> tuple[Path, ...]:
    """A case's files in the order of channels; one file may hold all of them.

    Source: method.md section 2; gaps in the channel numbers, which nnU-Net overlooks, are errors here.
    """
    check_name(identifier)
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
