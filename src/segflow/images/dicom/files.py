"""DICOM files without their voxels: which of them make a series, and which series there are.

A series is named by one of its files: a multi-frame file stands for itself, any other for all single slices of its
series in its folder.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from segflow.contracts.errors import DatasetError, SegflowError

__all__ = [
    "DIFFERING",
    "Header",
    "Series",
    "chosen_series",
    "dicom_libraries",
    "find_series",
    "header_of",
    "headers_below",
    "is_dicom",
    "is_multiframe",
    "naming",
    "slices_of",
]

#: A data set of pydicom's.
Header = Any

#: What several images at one position may differ in.
DIFFERING: Final = (
    "TemporalPositionIdentifier", "TriggerTime", "EchoTime", "DiffusionBValue", "AcquisitionNumber", "ImageType",
    "AcquisitionTime", "ContentTime", "InstanceNumber",
)  # fmt: skip
_TAGS: Final = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "PatientID", "StudyDate",
    "StudyTime", "SeriesNumber", "SeriesDescription", "Rows", "Columns", "SamplesPerPixel", "NumberOfFrames",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "FrameOfReferenceUID",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", *DIFFERING,
)  # fmt: skip
_NO_IMAGES: Final = ("SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "PR", "KO", "SR", "REG")
_MAGIC_AT: Final = 128
_ENDINGS: Final = (".dcm", ".ima")


@dataclass(frozen=True)
class Series:
    """Images of one series that lie in a folder, or one multi-frame file.

    Attributes:
        file: The first of them, which names the series.
        header: Of that file.
        slices: How many.
        folders: Where other slices of the same series are, which do not count.
    """

    file: Path
    header: Header
    slices: int
    folders: tuple[Path, ...] = ()

    def __str__(self) -> str:
        """A line of a list."""
        text = self.text
        date, time = text("StudyDate"), text("StudyTime")[:6]
        words = (
            text("SeriesDescription"), f"{self.slices} slices", f"study of {date} {time}".strip() if date else "",
            f"patient {text('PatientID')}" if text("PatientID") else "",
        )  # fmt: skip
        said = ", ".join(filter(None, words))
        return f"{text('SeriesNumber') or '-'}: {text('Modality')} {said}, {text('SeriesInstanceUID')}"

    def text(self, tag: str) -> str:
        """The value of a tag, or ""."""
        return str(self.header.get(tag) or "").strip()


def dicom_libraries() -> tuple[Any, Any]:
    """Modules pydicom and highdicom, which only those who have DICOM files need.

    Raises:
        DatasetError: They are not installed.
    """
    try:
        import highdicom  # noqa: PLC0415
        import pydicom  # noqa: PLC0415
    except ModuleNotFoundError as problem:
        raise DatasetError(
            f"DICOM files need the package {problem.name}: pip install 'segflow[dicom]'"
        ) from None
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE  # of values that are not used
    return pydicom, highdicom


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Whatever a damaged file leads to in a library becomes one sentence with the file's name.

    Raises:
        DatasetError: In the block was an exception.
    """
    try:
        yield
    except (SegflowError, MemoryError):
        raise
    except Exception as problem:  # noqa: BLE001  damaged values show as AttributeError, TypeError, ...
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0].rstrip(": ")
        raise DatasetError(
            f"{file} cannot be read as DICOM ({reason}); replace it, or remove its series"
        ) from None


def is_dicom(file: Path) -> bool:
    """Whether a file is DICOM, by its content; the libraries are not needed."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(_MAGIC_AT + 4)[_MAGIC_AT:] == b"DICM"


def is_multiframe(header: Header) -> bool:
    """Whether a file holds all its images with a position each."""
    return "PerFrameFunctionalGroupsSequence" in header


def header_of(file: Path) -> Header:
    """The tags of a file that say what it is and where its images lie.

    Raises:
        DatasetError: It is no DICOM file.
    """
    header = _headers(file.parent).get(file)
    if header is None:
        raise DatasetError(f"{file} is no DICOM file; replace it, or remove it")
    return header


def slices_of(file: Path) -> dict[Path, Header]:
    """All files of the series that a file stands for, sorted by name, with their tags.

    Raises:
        DatasetError: A file of the folder cannot be read.
    """
    own = header_of(file)
    if is_multiframe(own):
        return {file: own}
    others = _headers(file.parent).items()
    return {one: header for one, header in others if _key(header) == _key(own) and not is_multiframe(header)}


def headers_below(folder: Path) -> dict[Path, Header]:
    """All DICOM files in a folder and the folders in it.

    Raises:
        DatasetError: The folder does not exist, or a file cannot be read.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is no folder; name one of DICOM files")
    folders = sorted(Path(found) for found, _, _ in os.walk(folder))
    return {file: header for one in folders for file, header in _headers(one).items()}


def find_series(headers: Mapping[Path, Header]) -> tuple[Series, ...]:
    """The series of images with a position in the patient, sorted by patient, study and number."""
    single: dict[tuple[str, ...], dict[Path, list[Path]]] = defaultdict(lambda: defaultdict(list))
    found = []
    for file, header in headers.items():
        if not header.get("Rows") or header.get("Modality") in _NO_IMAGES:
            continue
        if is_multiframe(header):
            found.append(Series(file, header, len(header.PerFrameFunctionalGroupsSequence)))
        elif header.get("ImagePositionPatient") and header.get("ImageOrientationPatient"):
            single[_key(header)][file.parent].append(file)
    for folders in single.values():
        file = next(iter(folders.values()))[0]
        found.append(Series(file, headers[file], sum(map(len, folders.values())), tuple(folders)[1:]))
    return tuple(sorted(found, key=_order))


def chosen_series(found: Sequence[Series], wanted: Sequence[str], *, count: int) -> tuple[Series, ...]:
    """Those that are named by their number or UID; without names, the only one.

    Args:
        found: Not empty.
        wanted: Numbers (SeriesNumber) or UIDs (SeriesInstanceUID).
        count: How many make an image: its channels.

    Raises:
        DatasetError: A name fits none or several, or there are more series than one image needs.
    """
    listed = "".join(f"\n  {one}" for one in found)
    if not wanted and (count > 1 or len(found) > 1):
        need = "one" if count == 1 else f"{count}, in the order of the channels,"
        raise DatasetError(
            f"there are {len(found)} series; choose {need} with --series NUMBER or UID:{listed}"
        )
    chosen = []
    for name in wanted:
        fitting = [one for one in found if name in {one.text("SeriesNumber"), one.text("SeriesInstanceUID")}]
        if len(fitting) > 1 and len({one.text("SeriesInstanceUID") for one in fitting}) == 1:
            files = "".join(f"\n  {one.file}" for one in fitting)
            raise DatasetError(
                f"--series {name} has {len(fitting)} files with a volume each; name one of them as the input:{files}"
            )
        if len(fitting) != 1:
            raise DatasetError(
                f"--series {name} fits {len(fitting) or 'none'} of the series; name one by its UID:{listed}"
            )
        chosen += fitting
    for one in chosen or found:
        if one.folders:
            raise DatasetError(
                f"the slices of series {one.text('SeriesInstanceUID')} lie in {one.file.parent} and "
                f"{one.folders[0]}; put them into one folder, or name one of the folders"
            )
    return tuple(chosen or found)


def _order(series: Series) -> tuple[str, str, str, int, Path]:
    number = series.text("SeriesNumber")
    return (
        series.text("PatientID"), series.text("StudyDate"), series.text("StudyInstanceUID"),
        int(number) if number.isdecimal() else 0, series.file,
    )  # fmt: skip


def _key(header: Header) -> tuple[str, str]:
    return str(header.get("StudyInstanceUID")), str(header.get("SeriesInstanceUID"))


def _headers(folder: Path) -> Mapping[Path, Header]:
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    stats = (file.stat() for file in files)
    return _read_headers(tuple((f, s.st_mtime_ns, s.st_size) for f, s in zip(files, stats, strict=True)))


@lru_cache(maxsize=8)
def _read_headers(files: tuple[tuple[Path, int, int], ...]) -> Mapping[Path, Header]:
    """By file; files of other formats are left out. Times of change and sizes are there for the cache."""
    pydicom, _ = dicom_libraries()
    found: dict[Path, Header] = {}
    for file, _, size in files:
        if is_dicom(file):
            with naming(file):
                found[file] = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
        elif file.suffix.lower() in _ENDINGS or not size:
            raise DatasetError(f"{file} is no DICOM file, or its beginning is lost; replace it, or remove it")
    return found
