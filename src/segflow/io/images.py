"""Reading and writing image files through SimpleITK. Source: method.md section 3."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from segflow.contracts.arrays import Image, LabelMap
from segflow.contracts.case import Geometry, RawCase
from segflow.contracts.dataset import Case
from segflow.contracts.errors import DatasetError
from segflow.io.files import write_atomically

__all__ = ["read_case", "read_geometry", "read_image", "read_labels", "write_image", "write_labels"]

FLAT_SPACING_FACTOR = (
    999  # a 2D file's third spacing is this times its largest: never resampled, always coarsest
)
SPACING_TOLERANCE_MM = 1e-4


def read_case(case: Case, *, channels: int) -> RawCase:
    """Read all files of a case and check that they belong together.

    Args:
        case: The files.
        channels: How many channels the data set has.

    Returns:
        The image as float32, and the labels if the case has any.

    Raises:
        DatasetError: A file cannot be read; channels or label differ in shape or spacing; the number of
            channels is wrong; voxels are NaN or labels are not whole numbers.

    Source: method.md sections 3, 4.
    """
    image, geometry = read_image(case.images, case=case.identifier)
    if len(image) != channels:
        raise DatasetError(
            f"case {case.identifier}: {len(image)} channels in {_names(case.images)}, but dataset.json names "
            f"{channels}; add the missing file or mend channel_names"
        )
    labels = None
    if case.label is not None:
        labels = read_labels(case.label, case=case.identifier, like=geometry, image=case.images[0])
    return RawCase(case.identifier, image, labels, geometry)


def read_image(files: Sequence[Path], *, case: str) -> tuple[Image, Geometry]:
    """Read one or more files as the channels of one image.

    Args:
        files: In channel order. A file of vectors (RGB) or a 4D file holds several channels itself.
        case: For messages.

    Returns:
        (c, z, y, x) float32, and where it lies.

    Raises:
        DatasetError: A file cannot be read, holds NaN, or differs from the first in shape or spacing.

    Source: method.md section 3.
    """
    channels: list[NDArray[np.float32]] = []
    first: Geometry | None = None
    for file in files:
        array, geometry = _read(file, case)
        first = first or geometry
        _check_same_grid(file, geometry, files[0], first, case)
        if np.isnan(array).any():
            raise DatasetError(f"case {case}: {file} holds NaN voxels; replace them by numbers")
        channels.append(array.astype(np.float32, copy=False))
    if first is None:
        raise DatasetError(f"case {case}: no image file")
    return np.concatenate(channels), first


def read_labels(
    file: Path, *, case: str, like: Geometry | None = None, image: Path | None = None
) -> LabelMap:
    """Read a label map.

    Args:
        file: One channel of whole numbers.
        case: For messages.
        like: Where the image lies, to compare with.
        image: The image's file, for the message.

    Returns:
        (z, y, x), int16 (int32 where values need it).

    Raises:
        DatasetError: The file cannot be read, has several channels, values that are not whole
            numbers of 32 bits, or another shape or spacing than the image.

    Source: method.md sections 3, 4.
    """
    array, geometry = _read(file, case)
    if len(array) != 1:
        raise DatasetError(f"case {case}: label file {file} has {len(array)} channels; it must have one")
    if like is not None and image is not None:
        _check_same_grid(file, geometry, image, like, case)
    labels = array[0]
    whole = np.issubdtype(labels.dtype, np.integer) or np.array_equal(labels, np.rint(labels))
    largest = np.abs(labels).max(initial=0)
    if not whole or largest > np.iinfo(np.int32).max:
        raise DatasetError(f"case {case}: label file {file} holds values that are not whole 32-bit numbers")
    return labels.astype(np.int16 if largest <= np.iinfo(np.int16).max else np.int32)


def read_geometry(file: Path, *, case: str) -> Geometry:
    """Where a file's image lies.

    Raises:
        DatasetError: The file cannot be read.

    Source: method.md section 3.
    """
    return _read(file, case)[1]


def write_labels(path: Path, labels: LabelMap, geometry: Geometry) -> None:
    """Write a label map where its image lies, compressed, atomically.

    Args:
        path: Its ending chooses the format.
        labels: (z, y, x), unsigned.
        geometry: Of the image.

    Source: method.md sections 3, 17.
    """
    _write(path, labels, geometry)


def write_image(path: Path, channel: NDArray[np.float32], geometry: Geometry) -> None:
    """Write one channel of an image, compressed, atomically.

    Args:
        path: Its ending chooses the format.
        channel: (z, y, x).
        geometry: Where it lies.

    Source: method.md section 3.
    """
    _write(path, channel, geometry)


def _write(path: Path, volume: NDArray[Any], geometry: Geometry) -> None:
    array = volume[0] if geometry.file_dimensions == 2 else volume
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.file_spacing_mm)
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(geometry.direction)
    write_atomically(path, lambda temporary: sitk.WriteImage(image, str(temporary), useCompression=True))


def _read(file: Path, case: str) -> tuple[NDArray[Any], Geometry]:
    """One file as (c, z, y, x), and its geometry."""
    try:
        image = sitk.ReadImage(str(file))
    except RuntimeError as problem:
        reason = str(problem).strip().splitlines()[-1]
        raise DatasetError(f"case {case}: cannot read {file}: {reason}") from None
    array = sitk.GetArrayFromImage(image)
    vector = image.GetNumberOfComponentsPerPixel() > 1
    dimensions = image.GetDimension()
    if dimensions == 4 and not vector:
        return array, _geometry(image, array.shape[1:], 3)
    if dimensions not in (2, 3):
        raise DatasetError(f"case {case}: {file} has {dimensions} axes; 2 or 3 are possible")
    array = np.moveaxis(array, -1, 0) if vector else array[None]
    if dimensions == 2:
        array = array[:, None]
    return array, _geometry(image, array.shape[1:], dimensions)


def _geometry(image: sitk.Image, shape: Sequence[int], dimensions: int) -> Geometry:
    spacing = tuple(abs(value) for value in image.GetSpacing()[:dimensions])
    full = image.GetDimension()
    direction = np.reshape(image.GetDirection(), (full, full))[:dimensions, :dimensions]
    x_mm, y_mm, *rest = spacing
    z_mm = rest[0] if rest else FLAT_SPACING_FACTOR * max(spacing)
    z, y, x = shape
    return Geometry(
        shape=(z, y, x),
        spacing_mm=(z_mm, y_mm, x_mm),
        file_dimensions=dimensions,
        file_spacing_mm=spacing,
        origin_mm=tuple(image.GetOrigin()[:dimensions]),
        direction=tuple(direction.ravel().tolist()),
    )


def _check_same_grid(file: Path, found: Geometry, other_file: Path, other: Geometry, case: str) -> None:
    if found.shape != other.shape:
        raise DatasetError(
            f"case {case}: {file} has shape {found.shape} (z, y, x), but {other_file} has {other.shape}; "
            "resample one of them or replace it"
        )
    if not np.allclose(found.spacing_mm, other.spacing_mm, atol=SPACING_TOLERANCE_MM):
        raise DatasetError(
            f"case {case}: {file} has spacing {found.spacing_mm} mm (z, y, x), but {other_file} has "
            f"{other.spacing_mm}; correct the header or replace the file"
        )


def _names(files: Sequence[Path]) -> str:
    return ", ".join(str(file) for file in files)
