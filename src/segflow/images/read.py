"""Reading and writing the image files of a case. Source: method.md section 3.

Whether the files of a case belong together. Source: method.md sections 3, 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import Image, LabelMap
from segflow.contracts.case import Case, Geometry, RawCase
from segflow.contracts.errors import DatasetError
from segflow.images.decode import Decoded, UnreadableError, decode, decode_geometry, decode_voxels
from segflow.images.encode import check_storable, encode
from segflow.images.formats import FLAT_ENDINGS, LOSSY_ENDINGS, ending_of, label_ending
from segflow.images.nifti import verify

__all__ = [
    "compare",
    "missing_spacing",
    "read_case",
    "read_geometry",
    "read_image",
    "read_labels",
    "verify_files",
    "write_image",
    "write_labels",
]

SPACING_TOLERANCE_MM = 1e-4
ORIGIN_TOLERANCE_MM = 1e-3
DIRECTION_TOLERANCE = 1e-4


def missing_spacing(file: Path, found: Decoded, case: str) -> list[str]:
    """Warn of a stack of pages that does not say its spacing; a picture need not have one.

    Args:
        file: Of an image.
        found: What is in it.
        case: For the message.

    Returns:
        At most one line.

    Source: method.md section 3.
    """
    if found.spacing_known or ending_of(file) in FLAT_ENDINGS or found.geometry.file_dimensions == 2:
        return []
    name = re.sub(r"_\d{4}$", "", file.name[: -len(ending_of(file))])
    return [
        f"case {case}: there is no {file.with_name(name)}.json with the spacing of {file.name}, so it is taken for "
        "1 mm along all axes"
    ]


def compare(file: Path, found: Decoded, other_file: Path, other: Geometry, case: str) -> list[str]:
    """Whether a file lies where the first one of its case does.

    Args:
        file: A further channel or the label map.
        found: What is in it.
        other_file: The first channel.
        other: Where that one lies.
        case: For messages.

    Returns:
        At most one warning: origin or direction differ.

    Raises:
        DatasetError: Shape or spacing differ.

    Source: method.md sections 3, 4.
    """
    geometry = found.geometry
    if geometry.shape != other.shape:
        raise DatasetError(
            f"case {case}: {file} has shape {geometry.shape} (z, y, x), but {other_file} has {other.shape}; "
            "resample one of them or replace it"
        )
    if not found.spacing_known:  # it is that of the first file
        return []
    if not np.allclose(geometry.spacing_mm, other.spacing_mm, atol=SPACING_TOLERANCE_MM):
        raise DatasetError(
            f"case {case}: {file} has spacing {geometry.spacing_mm} mm (z, y, x), but {other_file} has "
            f"{other.spacing_mm}; correct the header or replace the file"
        )
    if geometry.file_dimensions != other.file_dimensions:
        return []
    differs = [
        word
        for word, one, two, tolerance in (
            ("origin", geometry.origin_mm, other.origin_mm, ORIGIN_TOLERANCE_MM),
            ("direction", geometry.direction, other.direction, DIRECTION_TOLERANCE),
        )
        if not np.allclose(one, two, rtol=1e-5, atol=tolerance)
    ]
    if not differs:
        return []
    return [
        f"case {case}: {file} and {other_file} differ in {' and '.join(differs)}; they are laid on each other voxel by "
        "voxel all the same: look whether they fit"
    ]


R = TypeVar("R")


def read_case(case: Case, *, channels: int) -> RawCase:
    """Read all files of a case and check that they belong together.

    Args:
        case: The files.
        channels: How many channels the data set has.

    Returns:
        The image as float32, the labels if the case has any, and warnings.

    Raises:
        DatasetError: A file cannot be read; channels or label differ in shape or spacing; the number of
            channels is wrong; voxels are NaN or infinite, or labels are not whole numbers.

    Source: method.md sections 3, 4.
    """
    image, geometry, warnings = _read_channels(case.images, case.identifier)
    if len(image) != channels:
        raise DatasetError(
            f"case {case.identifier}: {len(image)} channels in {_names(case.images)}, but dataset.json names "
            f"{channels}; add the missing file or mend channel_names"
        )
    labels = None
    if case.label is not None:
        found = _told(decode, case.label, case.identifier)
        labels = _label_values(found.array, case.label, case.identifier)
        warnings += compare(case.label, found, case.images[0], geometry, case.identifier)
    return RawCase(case.identifier, image, labels, geometry, tuple(warnings))


def read_image(files: Sequence[Path], *, case: str) -> tuple[Image, Geometry]:
    """Read one or more files as the channels of one image.

    Args:
        files: In channel order. A file of vectors (RGB) or a 4D file holds several channels itself.
        case: For messages.

    Returns:
        (c, z, y, x) float32, and where it lies.

    Raises:
        DatasetError: A file cannot be read, holds NaN or infinite voxels, or differs from the first in shape or
            spacing.

    Source: method.md section 3.
    """
    image, geometry, _ = _read_channels(files, case)
    return image, geometry


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
    if like is None or image is None:
        return _label_values(_told(decode_voxels, file, case), file, case)
    found = _told(decode, file, case)
    labels = _label_values(found.array, file, case)
    compare(file, found, image, like, case)
    return labels


def read_geometry(file: Path, *, case: str) -> Geometry:
    """Where a file's image lies.

    Raises:
        DatasetError: The file cannot be read.

    Source: method.md section 3.
    """
    return _told(decode_geometry, file, case)


def verify_files(case: Case) -> None:
    """Check what reading does not see: the checksums of compressed NIfTI files. It costs as much as reading them.

    Args:
        case: Its files can be read.

    Raises:
        DatasetError: A file was damaged.
    """
    for file in (*case.images, *([case.label] if case.label else [])):
        problem = verify(file) if ending_of(file) == ".nii.gz" else None
        if problem is not None:
            raise DatasetError(f"case {case.identifier}: cannot trust {file}: {problem}; replace the file")


def write_labels(path: Path, labels: LabelMap, geometry: Geometry) -> None:
    """Write a label map where its image lies, compressed, atomically, as uint8 if its values fit, else as uint16.

    Args:
        path: Its ending chooses the format.
        labels: (z, y, x), not negative.
        geometry: Of the image. Where the file cannot hold the spacing, a side file is written too.

    Raises:
        DatasetError: The format cannot hold these values.

    Source: method.md sections 3, 17.
    """
    encode(path, labels.astype(check_storable(path, labels), copy=False), geometry)


def write_image(path: Path, channel: NDArray[np.float32], geometry: Geometry) -> None:
    """Write one channel of an image, compressed, atomically.

    Args:
        path: Its ending chooses the format.
        channel: (z, y, x).
        geometry: Where it lies.

    Raises:
        DatasetError: The format cannot hold it.

    Source: method.md section 3.
    """
    encode(path, channel, geometry)


def _read_channels(files: Sequence[Path], case: str) -> tuple[Image, Geometry, list[str]]:
    """Each voxel is copied once, from what the library read into the result."""
    if not files:
        raise DatasetError(f"case {case}: no image file")
    found = _told(decode, files[0], case)
    geometry, warnings = found.geometry, missing_spacing(files[0], found, case)
    image = np.empty((len(found.array) * len(files), *geometry.shape), np.float32)
    used = 0
    for file in files:
        if used:
            found = _told(decode, file, case)
            warnings += compare(file, found, files[0], geometry, case)
        end = used + len(found.array)
        if end > len(image):
            image = np.concatenate([image[:used], np.empty((len(found.array), *geometry.shape), np.float32)])
        _convert(found.array, image[used:end], file, case)
        used = end
    return image[:used], geometry, warnings


def _convert(array: NDArray[Any], target: NDArray[np.float32], file: Path, case: str) -> None:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is found
        target[...] = array
    exact = np.issubdtype(array.dtype, np.integer)
    if not exact and not (np.isfinite(target.min()) and np.isfinite(target.max())):  # NaN wins both
        raise DatasetError(
            f"case {case}: {file} holds NaN or infinite voxels (or beyond 3e38); replace them by numbers"
        )


def _label_values(array: NDArray[Any], file: Path, case: str) -> LabelMap:
    if ending_of(file) in LOSSY_ENDINGS:
        raise DatasetError(
            f"case {case}: label file {file} is JPEG, which changes values; save the labels as "
            f"{label_ending(ending_of(file))}"
        )
    if len(array) != 1:
        raise DatasetError(
            f"case {case}: label file {file} has {len(array)} channels; it must have one, of label values"
        )
    labels = array[0]
    smallest, largest = labels.min().item(), labels.max().item()  # NaN if there is one
    limit = np.iinfo(np.int32).max
    exact = np.issubdtype(labels.dtype, np.integer)
    if not (-limit <= smallest and largest <= limit) or not (
        exact or np.array_equal(labels, np.rint(labels))
    ):
        raise DatasetError(f"case {case}: label file {file} holds values that are not whole 32-bit numbers")
    small = np.iinfo(np.int16)
    return labels.astype(np.int16 if small.min <= smallest and largest <= small.max else np.int32)


def _told(read: Callable[[Path], R], file: Path, case: str) -> R:
    """Read, or say which case cannot be read."""
    try:
        return read(file)
    except UnreadableError as problem:
        raise DatasetError(f"case {case}: cannot read {file}: {problem}") from None


def _names(files: Sequence[Path]) -> str:
    return ", ".join(str(file) for file in files)
