"""Image files that SimpleITK reads and writes, and where they lie. Source: method.md section 3."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.images.contained import contained
from segflow.images.formats import ending_of, file_geometry

__all__ = [
    "Image",
    "captured_stderr",
    "geometry_of",
    "image_of",
    "read_geometry",
    "read_voxels",
    "voxels_of",
    "write",
]

#: SimpleITK's, for those who need its name only.
Image = sitk.Image

#: SimpleITK's name of each format: a file is what its ending says, or an error.
_FORMATS = {
    ".nii": "NiftiImageIO",
    ".nii.gz": "NiftiImageIO",
    ".nrrd": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
    ".gipl": "GiplImageIO",
    ".png": "PNGImageIO",
    ".tif": "TIFFImageIO",
    ".tiff": "TIFFImageIO",
}
_UNINFORMATIVE = ("Reason:", "Logic error")  # of exceptions; what was printed says more
_DIGEST_FIELD = "VoxelsSHA256"  # in the header of a .mhd, which would be the same for other voxels
_STDERR = 2
_stderr_lock = threading.Lock()  # standard error is the process's, not the thread's


def read_voxels(file: Path) -> NDArray[Any]:
    """Read voxels, (c, z, y, x) of the file's own type.

    Raises:
        ValueError: The file cannot be read.
        DatasetError: It holds another number of axes, or fewer voxels than it says, or SimpleITK crashed on it.
    """
    return contained(_read_voxels, file)


def _read_voxels(file: Path) -> NDArray[Any]:
    return voxels_of(_execute(file, voxels=True))


def voxels_of(image: Image) -> NDArray[Any]:
    """The voxels of an image, (c, z, y, x) of its own type; see `read_voxels`."""
    is_vector = image.GetNumberOfComponentsPerPixel() > 1
    _check_axes(image.GetDimension(), is_vector=is_vector)
    array = sitk.GetArrayFromImage(image)
    if is_vector:
        array = np.moveaxis(array, -1, 0)
    elif image.GetDimension() < 4:
        array = array[None]
    if image.GetDimension() == 2:
        array = array[:, None]
    return array


def read_geometry(file: Path) -> Geometry:
    """Read where an image lies, without its voxels.

    Raises:
        ValueError: The file cannot be read.
        DatasetError: It has another number of axes.
    """
    header = _execute(file, voxels=False)
    _check_axes(header.GetDimension(), is_vector=header.GetNumberOfComponents() > 1)
    return geometry_of(header)


def geometry_of(header: Any) -> Geometry:
    """The geometry of an image, or of a reader that has read the header of one."""
    full = header.GetDimension()
    dimensions = min(full, 3)
    signed = np.array(header.GetSpacing()[:dimensions])
    direction = np.reshape(header.GetDirection(), (full, full))[:dimensions, :dimensions]
    if (signed < 0).any():  # an image holds such an axis as one of the opposite direction
        direction = direction @ np.diag(np.sign(signed))
    return file_geometry(
        header.GetSize(), abs(signed).tolist(), header.GetOrigin()[:dimensions], direction.ravel().tolist()
    )


def write(file: Path, volume: NDArray[Any], geometry: Geometry) -> None:
    """Write one channel, (z, y, x), or (y, x) for a file of two axes, compressed.

    Raises:
        DatasetError: The format cannot hold it.
    """
    image = image_of(volume, geometry)
    ending = ending_of(file)
    if ending == ".mhd":
        image.SetMetaData(_DIGEST_FIELD, hashlib.sha256(volume.tobytes()).hexdigest())
    with captured_stderr():
        try:
            sitk.WriteImage(image, str(file), useCompression=True, imageIO=_FORMATS[ending])
        except RuntimeError as problem:
            reason = str(problem).strip().splitlines()[-1]
            raise DatasetError(f"{file.name} cannot be written: {reason}") from None


def image_of(volume: NDArray[Any], geometry: Geometry) -> Image:
    """An image of one channel, (z, y, x), or (y, x) for one of two axes, with this geometry."""
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing(geometry.file_spacing_mm)
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(geometry.direction)
    return image


@contextmanager
def captured_stderr() -> Iterator[list[str]]:
    """Collect what C and C++ code prints to standard error in the block: the lines are there once it is left."""
    lines: list[str] = []
    with _stderr_lock, tempfile.TemporaryFile() as sink:
        sys.stderr.flush()
        screen = os.dup(_STDERR)
        os.dup2(sink.fileno(), _STDERR)
        try:
            yield lines
        finally:
            os.dup2(screen, _STDERR)
            os.close(screen)
            sink.seek(0)
            text = sink.read().decode("utf-8", "replace")
            lines += [line.strip() for line in text.splitlines() if line.strip() and "\x1b" not in line]


def _execute(file: Path, *, voxels: bool) -> Any:
    """An image, or a reader that knows its header only."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.SetImageIO(_FORMATS[ending_of(file)])
    printed: list[str] = []
    try:
        with captured_stderr() as printed:
            return reader.Execute() if voxels else reader.ReadImageInformation() or reader
    except (RuntimeError, ValueError) as problem:  # a message that is no text is a ValueError
        raise ValueError(_reason(str(problem), printed)) from None


def _reason(fault: str, printed: Sequence[str]) -> str:
    """The line that says most: the exception's last one, or what was printed if that one says nothing."""
    lines = [line.strip() for line in fault.strip().splitlines()]
    last = next((line for line in lines if "determinant" in line), lines[-1])  # a matrix follows
    if printed and any(word in last for word in _UNINFORMATIVE):
        return printed[0]
    return last.removeprefix("ITK ERROR: ").removeprefix("sitk::ERROR: ")


def _check_axes(dimensions: int, *, is_vector: bool) -> None:
    if dimensions not in {2, 3} and (dimensions != 4 or is_vector):
        raise DatasetError(f"it has {dimensions} axes; 2 or 3 are possible, and a fourth for channels")
