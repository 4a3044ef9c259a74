"""Which series of a DICOM study are labelled, and what cases of series are called."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from segflow.contracts.case import Case
from segflow.contracts.errors import DatasetError
from segflow.images.case_files import Inputs, find_inputs
from segflow.images.dicom.files import Series, chosen_series, find_series, header_of, headers_below, is_dicom

__all__ = ["find_images", "named"]

_UNUSUAL = re.compile(r"[^A-Za-z0-9.-]+")


def find_images(paths: Sequence[Path], ending: str, channels: int, *, series: Sequence[str] = ()) -> Inputs:
    """List the cases to label: files of images, or series of a DICOM study.

    A folder is one of DICOM files if it holds no image of the data set's format. With one channel each chosen series is
    a case; with several, the series are the channels of one case, in the order in which they are named.

    Args:
        paths: One folder, or files of any format.
        ending: Of the files that count in a folder: the data set's.
        channels: How many the model was trained with.
        series: Numbers or UIDs of DICOM series; the only one by default.

    Raises:
        DatasetError: There are no images, it is not clear which are meant, or DICOM needs libraries that are missing.
    """
    if not _are_dicom(paths, ending):
        if series:
            raise DatasetError(f"--series chooses among DICOM series, but {paths[0]} holds none")
        return find_inputs(paths, ending, channels)
    is_folder = paths[0].is_dir()
    headers = headers_below(paths[0]) if is_folder else {path: header_of(path) for path in paths}
    found = find_series(headers)
    if not found:
        kinds = sorted({str(header.get("Modality")) for header in headers.values()})
        raise DatasetError(
            f"{paths[0]} holds DICOM files ({', '.join(kinds)}), but no image with a position in the patient; only CT, "
            "MR, PET and the like are read"
        )
    chosen = chosen_series(found, series, count=channels)
    if len(chosen) != channels and channels > 1:
        raise DatasetError(
            f"{len(chosen)} series are named, but the model has {channels} channels; name one for each"
        )
    if channels > 1 and len({one.text("PatientID") for one in chosen}) > 1:
        listed = "".join(f"\n  {one}" for one in chosen)
        raise DatasetError(f"the named series are of several patients; name those of one:{listed}")
    cases = [chosen] if channels > 1 else [(one,) for one in chosen]
    names = named([case[0] for case in cases])
    return Inputs(
        {
            name: Case(name, tuple(one.file for one in case))
            for name, case in sorted(zip(names, cases, strict=True))
        },
        {},
    )


def named(series: Sequence[Series]) -> list[str]:
    """Different names: the patient, and where needed the date of the study, the number of the series, and its UID."""
    names = [""] * len(series)
    for tag in ("PatientID", "StudyDate", "SeriesNumber", "SeriesInstanceUID"):
        parts = (_UNUSUAL.sub("-", one.text(tag)).strip("-.") for one in series)
        names = ["_".join(filter(None, pair)) for pair in zip(names, parts, strict=True)]
        if all(names) and len(set(names)) == len(names):
            break
    return names


def _are_dicom(paths: Sequence[Path], ending: str) -> bool:
    """Whether a folder holds DICOM files and no visible image of the ending, or files are DICOM."""
    if len(paths) != 1 or not paths[0].is_dir():
        return bool(paths) and all(not path.is_dir() and is_dicom(path) for path in paths)
    if any(file.name.endswith(ending) and not file.name.startswith(".") for file in paths[0].iterdir()):
        return False
    found = (Path(folder, name) for folder, _, names in os.walk(paths[0]) for name in names)
    return any(is_dicom(file) for file in found)
