"""The cases among the images that are to be labelled: a folder of them, or files one by one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segflow.contracts.case import Case
from segflow.contracts.errors import DatasetError
from segflow.images.dataset import channel_files, files_by_case
from segflow.images.formats import ENDINGS, ending_of

__all__ = ["Inputs", "find_inputs"]

_CHANNEL = re.compile(r"(?P<identifier>.+)_(?P<channel>\d{4})", re.ASCII)


@dataclass(frozen=True)
class Inputs:
    """What there is to predict.

    Attributes:
        cases: Identifier to case, sorted; no image has been opened.
        faults: Identifier to why the case cannot be predicted, for cases whose files do not fit together.
    """

    cases: dict[str, Case]
    faults: dict[str, str]


def find_inputs(paths: Sequence[Path], ending: str, channels: int) -> Inputs:
    """List the cases of one folder, or of single files.

    Files are named IDENTIFIER_0000.ending, IDENTIFIER_0001.ending, ..., one per channel. A single file may hold all
    channels, and may then also be called IDENTIFIER.ending, if it is named itself.

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
    if folders:
        return _checked(files_by_case(folders[0], ending), channels)
    return _checked(_by_case(paths), channels)


def _checked(found: Mapping[str, Mapping[int, Path]], channels: int) -> Inputs:
    cases, faults = {}, {}
    for name in sorted(found):
        folder = next(iter(found[name].values())).parent
        try:
            cases[name] = Case(name, channel_files(name, found[name], channels, folder), None)
        except DatasetError as problem:
            faults[name] = str(problem)
    return Inputs(cases, faults)


def _by_case(files: Sequence[Path]) -> dict[str, dict[int, Path]]:
    found: dict[str, dict[int, Path]] = defaultdict(dict)
    for file in files:
        ending = ending_of(file)
        if not file.is_file():
            raise DatasetError(f"{file} does not exist")
        if not ending:
            raise DatasetError(f"{file} is no image: its ending is none of {', '.join(ENDINGS)}")
        stem = file.name[: -len(ending)]
        match = _CHANNEL.fullmatch(stem)
        name, channel = (match["identifier"], int(match["channel"])) if match else (stem, 0)
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
