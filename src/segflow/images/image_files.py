"""One image file: the table of formats, reading, and writing atomically. Source: method.md sections 3, 17."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.images import itk, nifti, pictures, tiff
from segflow.images.formats import ENDINGS, FLAT_ENDINGS, LOSSY_ENDINGS, ending_of, label_ending, side_content
from segflow.storage.files import write_text

__all__ = ["label_dtype", "read_file", "read_geometry", "write_file"]

_Locate = Callable[[], Geometry]


@dataclass(frozen=True)
class _Format:
    """How files of an ending are read and written.

    Attributes:
        read: File to voxels, (c, z, y, x) of the file's own type, and a function that gives the geometry.
        read_geometry: File to geometry, without voxels where the format allows it.
        write: Writes (file, volume, geometry); None if the format changes values.
        largest_label: That the format can hold.
    """

    read: Callable[[Path], tuple[NDArray[Any], _Locate]]
    read_geometry: Callable[[Path], Geometry]
    write: Callable[[Path, NDArray[Any], Geometry], None] | None = itk.write
    largest_label: int = np.iinfo(np.uint16).max


_NIFTI = _Format(nifti.read, nifti.read_geometry, nifti.write)
_ITK = _Format(itk.read, itk.read_geometry)
_TIFF = _Format(tiff.read, tiff.read_geometry)
_JPEG = _Format(pictures.read, pictures.read_geometry, write=None)
_FORMATS = {
    ".nii.gz": _NIFTI,
    ".nii": _NIFTI,
    ".nrrd": _ITK,
    ".mha": _ITK,
    ".mhd": _ITK,
    ".gipl": _ITK,
    ".png": _Format(pictures.read, pictures.read_geometry),
    ".bmp": _Format(pictures.read, pictures.read_geometry, largest_label=np.iinfo(np.uint8).max),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
}


def read_file(file: Path, *, case: str) -> tuple[NDArray[Any], _Locate]:
    """Read an image file.

    Args:
        file: Of any of the formats.
        case: For messages.

    Returns:
        Voxels, (c, z, y, x) of the file's own type and maybe read-only; and a function that gives the geometry.

    Raises:
        DatasetError: The file cannot be read, or not without doubt. The function raises it, too.
    """
    with _naming(file, case):
        array, locate = _format_of(file).read(file)
        if 0 in array.shape:
            raise DatasetError("it has no voxels; replace it, or remove the case")
        if np.iscomplexobj(array):
            raise DatasetError("it holds complex numbers; save real and imaginary part as channels")

    def geometry() -> Geometry:
        with _naming(file, case):
            return locate()

    return array, geometry


def read_geometry(file: Path, *, case: str) -> Geometry:
    """Where a file's image lies; voxels are not read where the format allows it.

    Raises:
        DatasetError: The file cannot be read.

    Source: method.md section 3.
    """
    with _naming(file, case):
        return _format_of(file).read_geometry(file)


def label_dtype(path: Path, labels: NDArray[np.integer[Any]]) -> np.dtype[Any]:
    """The type in which label values are stored: uint8 if they fit, else uint16.

    Args:
        path: Its ending chooses the format.
        labels: Values.

    Raises:
        DatasetError: The format cannot hold them.

    Source: method.md section 3.
    """
    ending = ending_of(path)
    if ending in LOSSY_ENDINGS:
        raise DatasetError(
            f"{path}: JPEG changes values, so it cannot hold labels; use {label_ending(ending)}"
        )
    smallest, largest = int(labels.min(initial=0)), int(labels.max(initial=0))
    limit = _FORMATS[ending].largest_label if ending else largest
    if smallest < 0 or largest > limit:
        raise DatasetError(
            f"{path}: a {ending} file holds labels from 0 to {limit}, but these are {smallest} to {largest}; "
            "use another file_ending"
        )
    return np.dtype(np.uint8 if largest <= np.iinfo(np.uint8).max else np.uint16)


def write_file(path: Path, volume: NDArray[Any], geometry: Geometry) -> None:
    """Write one channel, compressed, with all files that belong to it.

    Args:
        path: Its ending chooses the format; its folder is made if missing.
        volume: (z, y, x).
        geometry: Where it lies.

    Raises:
        DatasetError: The format cannot hold it.

    Source: method.md section 3.
    """
    ending = ending_of(path)
    write = _FORMATS[ending].write if ending else None
    if write is None:
        raise DatasetError(
            f"{path} cannot be written: its ending is none of {', '.join(ENDINGS)} (without JPEG)"
        )
    if geometry.file_dimensions != 2 and ending in FLAT_ENDINGS:
        raise DatasetError(f"{path} cannot be written: {ending} is for 2D images, and this one has 3 axes")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary_file(path) as file:
        write(file, volume[0] if geometry.file_dimensions == 2 else volume, geometry)
        _publish(file, path, geometry)


@contextmanager
def _temporary_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, in lower case, as libraries know endings; what is left of it is removed."""
    ending = ending_of(path)
    stem = path.name[: -len(ending)]
    if ending == ".mhd":  # its header names its data file, so both need their final names
        with tempfile.TemporaryDirectory(prefix=f".{os.getpid()}.", dir=path.parent) as folder:
            yield Path(folder, stem + ending)
        return
    file = path.with_name(f".{os.getpid()}.{stem}{ending}")
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def _publish(file: Path, path: Path, geometry: Geometry) -> None:
    """Rename what was written, the file itself last: while it is there, all that belongs to it is."""
    ending = ending_of(path)
    if ending == ".mhd":
        path.unlink(missing_ok=True)  # an old header must not be seen with new voxels
        for data in file.parent.iterdir():
            if data != file:
                data.replace(path.with_name(data.name))
    side = side_content(ending, geometry)
    if side is not None:
        write_text(path.with_name(path.name[: -len(ending)] + ".json"), side)
    file.replace(path)


def _format_of(file: Path) -> _Format:
    ending = ending_of(file)
    if not ending:
        raise DatasetError(f"its ending is none of {', '.join(ENDINGS)}")
    if not file.exists():
        raise DatasetError("it does not exist")
    return _FORMATS[ending]


@contextmanager
def _naming(file: Path, case: str) -> Iterator[None]:
    """Turn what is raised in the block into an error that names the case and the file, and says what to do."""
    try:
        yield
    except DatasetError as problem:
        raise DatasetError(f"case {case}: cannot read {file}: {problem}") from None
    except (ValueError, OSError, SyntaxError, EOFError, struct.error) as problem:
        raise DatasetError(f"case {case}: cannot read {file}: {_advice(file, str(problem))}") from None


def _advice(file: Path, reason: str) -> str:
    if "orthonormal" in reason or "determinant" in reason:
        return (
            f"{reason} The axes in its header (of NIfTI: sform, qform) are no rotation: resample it to perpendicular "
            "axes, or correct the header"
        )
    return (
        f"{reason}. Unless this says more: it is damaged or no {ending_of(file)} file; replace it, or remove the "
        "case"
    )
