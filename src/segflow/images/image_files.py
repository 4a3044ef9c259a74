"""One image file: the readers and writers of all formats, behind one interface. Source: method.md sections 3, 17."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError, MemoryShortageError
from segflow.images import itk, nifti, pictures, tiff
from segflow.images.contained import contained
from segflow.images.dicom import series
from segflow.images.formats import (
    DICOM,
    ENDINGS,
    FLAT_ENDINGS,
    LOSSY_ENDINGS,
    NIFTI_ENDINGS,
    TIFF_ENDINGS,
    WITHOUT_SPACING,
    ending_of,
    format_of,
    geometry_of_picture,
    side_content,
    side_file,
)
from segflow.images.limits import check_geometry
from segflow.storage.files import temporary_folder, write_text

__all__ = ["check_axes", "read_geometry", "read_voxels", "write_image"]

#: File to voxels, (c, z, y, x) of the file's own type.
_READERS: dict[str, Callable[[Path], NDArray[Any]]] = {
    **dict.fromkeys(ENDINGS, itk.read_voxels),
    **dict.fromkeys(NIFTI_ENDINGS, nifti.read_voxels),
    **dict.fromkeys(FLAT_ENDINGS, pictures.read_voxels),
    **dict.fromkeys(TIFF_ENDINGS, tiff.read_voxels),
    DICOM: partial(contained, series.read_voxels),
}
#: Formats whose geometry needs no library that may crash.
_GEOMETRIES: dict[str, Callable[[Path], Geometry]] = {
    **dict.fromkeys(NIFTI_ENDINGS, nifti.read_geometry),
    DICOM: series.read_geometry,
}
#: Writes one channel, (z, y, x), or (y, x) for a file of two axes.
_WRITERS: dict[str, Callable[[Path, NDArray[Any], Geometry], None]] = {
    **dict.fromkeys(ENDINGS, itk.write),
    **dict.fromkeys(NIFTI_ENDINGS, nifti.write),
    **dict.fromkeys(TIFF_ENDINGS, tiff.write),
    ".bmp": pictures.write_bmp,
}


def read_voxels(file: Path, *, case: str) -> NDArray[Any]:
    """Read the voxels of an image file, (c, z, y, x) of the file's own type and maybe read-only.

    Args:
        file: In any of the formats.
        case: For messages.

    Raises:
        DatasetError: The file cannot be read, or is ambiguous.
    """
    with _naming(file, case) as ending:
        array = _READERS[ending](file)
        if 0 in array.shape:
            raise DatasetError("it has no voxels; replace it, or remove the case")
        if np.iscomplexobj(array):
            raise DatasetError("it holds complex numbers; save real and imaginary part as channels")
        return array


def read_geometry(file: Path, *, case: str, shape: tuple[int, ...] | None = None) -> Geometry:
    """Read where a file's image lies.

    Args:
        file: In any of the formats.
        case: For messages.
        shape: (z, y, x) of its voxels, if they are known: those of pictures and TIFF files are read otherwise.

    Raises:
        DatasetError: The file cannot be read.

    Source: method.md section 3.
    """
    with _naming(file, case) as ending:
        if ending in WITHOUT_SPACING:
            return geometry_of_picture(file, shape or _READERS[ending](file).shape[1:])
        read = _GEOMETRIES.get(ending, partial(contained, itk.read_geometry))
        geometry = read(file)
        check_geometry(geometry)
        return geometry


def write_image(path: Path, volume: NDArray[Any], geometry: Geometry) -> None:
    """Write one channel, compressed, atomically, with all files that belong to it.

    Args:
        path: Its ending chooses the format; its folder is made if missing.
        volume: (z, y, x).
        geometry: Where it lies. If the format cannot hold the spacing, a side file is written too.

    Raises:
        DatasetError: The format cannot hold it.

    Source: method.md sections 3, 17.
    """
    ending = ending_of(path)
    if ending not in _WRITERS or ending in LOSSY_ENDINGS:
        raise DatasetError(
            f"{path} cannot be written: its ending is none of {', '.join(ENDINGS)} (without JPEG)"
        )
    check_axes(path, geometry)
    with temporary_folder(path.parent) as folder:
        file = folder / f"{path.name[: -len(ending)]}{ending}"  # in lower case, as libraries know endings
        _WRITERS[ending](file, volume[0] if geometry.file_dimensions == 2 else volume, geometry)
        if ending.endswith(".gz"):
            _check_whole(file, path)
        _publish(file, path, geometry)


def check_axes(path: Path, geometry: Geometry) -> None:
    """Refuse to write a volume to a file whose format is for 2D images.

    Raises:
        DatasetError: It is one.
    """
    if geometry.file_dimensions != 2 and (ending := ending_of(path)) in FLAT_ENDINGS:
        raise DatasetError(
            f"{path} cannot be written: {ending} is for 2D images, and this one has 3 axes; use .nii.gz"
        )


def _check_whole(file: Path, path: Path) -> None:
    """ITK says nothing where a disk is full."""
    try:
        with gzip.open(file) as content:
            while content.read(1 << 22):
                pass
    except (EOFError, OSError, zlib.error):
        raise DatasetError(
            f"{path} was cut short while it was written, usually because the disk is full; make room, and call again"
        ) from None


def _publish(file: Path, path: Path, geometry: Geometry) -> None:
    """Rename what was written, the file itself last: while it is there, all that belongs to it is."""
    ending = ending_of(path)
    if ending == ".mhd":
        path.unlink(missing_ok=True)  # an old header must not be seen with new voxels
    for data in file.parent.iterdir():
        if data != file:
            data.replace(path.with_name(data.name))
    side = side_content(ending, geometry, replaces=side_file(path) is not None)
    if side is not None:
        write_text(path.with_name(path.name[: -len(ending)] + ".json"), side)
    file.replace(path)


@contextmanager
def _naming(file: Path, case: str) -> Iterator[str]:
    """The ending of a file; errors that are raised in the block name the case and the file, and say what to do."""
    try:
        yield _known_ending(file)
    except DatasetError as problem:
        raise type(problem)(f"case {case}: cannot read {file}: {problem}") from None
    except (MemoryError, OverflowError):
        raise MemoryShortageError(
            f"case {case}: cannot read {file}: it declares more voxels than memory can hold; correct its header, or "
            "use a machine with more memory"
        ) from None
    except (ValueError, OSError, SyntaxError, EOFError, struct.error) as problem:
        raise DatasetError(f"case {case}: cannot read {file}: {_advice(file, str(problem))}") from None


def _known_ending(file: Path) -> str:
    ending = format_of(file)
    if not ending:
        raise DatasetError(f"its ending is none of {', '.join(ENDINGS)}")
    if not file.exists():
        raise DatasetError("it does not exist")
    return ending


def _advice(file: Path, reason: str) -> str:
    if "Unknown PixelType" in reason:
        return (
            "its voxels are of a kind that is not read, such as grey values with transparency (alpha) or tensors; save "
            "them as plain numbers, colours or channels"
        )
    if "orthonormal" in reason or "determinant" in reason:
        return (
            "the axes in its header (of NIfTI: sform, qform) are no rotation; resample it to perpendicular axes, or "
            "correct the header"
        )
    return (
        f"{reason}. Unless this says more: it is damaged or no {ending_of(file)} file; replace it, or remove the "
        "case"
    )
