"""Reading and writing the images and labels of a case, and whether its files belong together.

Source: method.md sections 3, 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import Image, LabelMap
from segflow.contracts.case import Case, Geometry, RawCase
from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels
from segflow.images.formats import (
    FLAT_ENDINGS,
    LOSSY_ENDINGS,
    ending_of,
    has_spacing,
    label_ending,
    largest_label,
    split_name,
)
from segflow.images.image_files import read_geometry, read_voxels, write_image
from segflow.processes.memory import check_memory

__all__ = [
    "check_label_values",
    "compare_geometry",
    "read_case",
    "read_geometry",
    "read_image",
    "read_labels",
    "write_labels",
]

SPACING_TOLERANCE_MM = 1e-4
ORIGIN_TOLERANCE_MM = 1e-3
DIRECTION_TOLERANCE = 1e-4


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
        are_slices = len(image) == 1 and image.shape[1] == channels
        raise DatasetError(
            f"case {case.identifier}: {len(image)} channels in {', '.join(map(str, case.images))}, but dataset.json "
            f"names {channels}; add the missing file or mend channel_names"
            + (f" (if its {channels} slices are the channels, save each as a file)" if are_slices else "")
        )
    labels = None
    if case.label is not None:
        labels = read_labels(case.label, case=case.identifier)
        found = read_geometry(case.label, case=case.identifier, shape=labels.shape)
        warnings += _remarks(case.label, found, case.identifier)
        warnings += compare_geometry(case.label, found, case.images[0], geometry, case.identifier)
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


def read_labels(file: Path, *, case: str) -> LabelMap:
    """Read a label map of one channel, (z, y, x), as int16 (int32 where values need it).

    Raises:
        DatasetError: The file cannot be read, is lossy, has several channels, or values that are not whole numbers of
            32 bits.

    Source: method.md sections 3, 4.
    """
    array = read_voxels(file, case=case)
    if ending_of(file) in LOSSY_ENDINGS:
        raise DatasetError(
            f"case {case}: label file {file} is JPEG, which changes values; save the labels as "
            f"{label_ending(ending_of(file))}"
        )
    if len(array) != 1:
        colours = " (of a picture with a palette, the colours are read: save its indices as grey values)"
        raise DatasetError(
            f"case {case}: label file {file} has {len(array)} channels; it must have one, of label values"
            f"{colours if ending_of(file) in FLAT_ENDINGS else ''}"
        )
    labels = array[0]
    smallest, largest = labels.min().item(), labels.max().item()  # NaN if there is one
    limit = np.iinfo(np.int32).max
    exact = np.issubdtype(labels.dtype, np.integer)
    if not (-limit <= smallest and largest <= limit) or not (
        exact or np.array_equal(labels, np.rint(labels))
    ):
        fits = (labels == np.rint(labels)) & (labels >= -limit) & (labels <= limit)
        odd = labels[~fits][0].item()
        raise DatasetError(
            f"case {case}: label file {file} holds values that are not whole 32-bit numbers, such as {odd!r}; "
            "round them and save them as integers"
        )
    small = np.iinfo(np.int16)
    return labels.astype(np.int16 if small.min <= smallest and largest <= small.max else np.int32)


def check_label_values(found: LabelMap, file: Path, labels: Labels, *, case: str) -> tuple[int, ...]:
    """The label values that occur, ascending.

    Args:
        found: As read.
        file: For the message.
        labels: Those of the data set.
        case: For the message.

    Raises:
        DatasetError: There is a value that dataset.json does not name.

    Source: method.md section 4.
    """
    allowed = {*labels.values, *([] if labels.ignore is None else [labels.ignore])}
    values = tuple(int(value) for value in np.unique(found))
    unknown = [value for value in values if value not in allowed]
    if unknown:
        raise DatasetError(
            f"case {case}: label file {file} holds the value {unknown[0]}, which dataset.json does not name (it names "
            f"{sorted(allowed)}); correct the label file"
            + (" or add the value to 'labels'" if unknown[0] == max(allowed) + 1 else "")
        )
    return values


def write_labels(path: Path, labels: LabelMap, geometry: Geometry) -> None:
    """Write a label map where its image lies, compressed, atomically, as uint8 if its values fit, else as uint16.

    Args:
        path: Its ending chooses the format.
        labels: (z, y, x), not negative.
        geometry: Of the image.

    Raises:
        DatasetError: The format cannot hold these values.

    Source: method.md sections 3, 17.
    """
    ending = ending_of(path)
    if ending in LOSSY_ENDINGS:
        raise DatasetError(
            f"{path}: JPEG changes values, so it cannot hold labels; use {label_ending(ending)}"
        )
    smallest, largest = int(labels.min(initial=0)), int(labels.max(initial=0))
    small, limit = np.iinfo(np.uint8).max, largest_label(ending)
    if smallest < 0 or largest > limit:
        raise DatasetError(
            f"{path}: a {ending} file holds labels from 0 to {limit}, but these are {smallest} to {largest}; "
            "use another file_ending"
        )
    write_image(path, labels.astype(np.uint8 if largest <= small else np.uint16, copy=False), geometry)


def _read_channels(files: Sequence[Path], case: str) -> tuple[Image, Geometry, list[str]]:
    """Each voxel is copied once, from what the library read into the result."""
    if not files:
        raise DatasetError(f"case {case}: no image file")
    array = read_voxels(files[0], case=case)
    geometry = read_geometry(files[0], case=case, shape=array.shape[1:])
    warnings = [*_missing_spacing(files[0], geometry, case), *_remarks(files[0], geometry, case)]
    n_channels = len(array) * len(files)
    needed = n_channels * array[0].size * np.dtype(np.float32).itemsize
    check_memory(needed, f"case {case}: it has {n_channels} channels of {geometry.shape} voxels (z, y, x)")
    image = np.empty((n_channels, *geometry.shape), np.float32)
    used = 0
    for file in files:
        if used:
            array = read_voxels(file, case=case)
            found = read_geometry(file, case=case, shape=array.shape[1:])
            warnings += [
                *_remarks(file, found, case),
                *compare_geometry(file, found, files[0], geometry, case),
            ]
        end = used + len(array)
        if end > len(image):
            image = np.concatenate([image[:used], np.empty((len(array), *geometry.shape), np.float32)])
        _convert(array, image[used:end], file, case)
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


def _missing_spacing(file: Path, geometry: Geometry, case: str) -> list[str]:
    """A warning if the spacing of a stack of pages is not stored; a picture need not have one."""
    if has_spacing(file) or ending_of(file) in FLAT_ENDINGS or geometry.file_dimensions == 2:
        return []
    name = file.with_name(split_name(file)[0])
    return [
        f"case {case}: there is no {name}.json with the spacing of {file.name}, so it is taken for "
        "1 mm along all axes"
    ]


def _remarks(file: Path, geometry: Geometry, case: str) -> list[str]:
    return [f"case {case}: {file}: {remark}" for remark in geometry.remarks]


def compare_geometry(file: Path, found: Geometry, first_file: Path, first: Geometry, case: str) -> list[str]:
    """Warnings if a file lies elsewhere than the first one of its case; other shapes or spacings are errors."""
    if found.shape != first.shape:
        raise DatasetError(
            f"case {case}: {file} has shape {found.shape} (z, y, x), but {first_file} has {first.shape}; "
            "resample one of them or replace it"
        )
    if not has_spacing(file):  # it has that of the first file
        return []
    if found.file_dimensions != first.file_dimensions and not np.allclose(found.spacing_mm, first.spacing_mm):
        kinds = {2: "a 2D image", 3: "a volume of one slice"}
        raise DatasetError(
            f"case {case}: {file} is {kinds[found.file_dimensions]}, but {first_file} is "
            f"{kinds[first.file_dimensions]}; save both in the same way, with the same spacing"
        )
    if not np.allclose(found.spacing_mm, first.spacing_mm, atol=SPACING_TOLERANCE_MM):
        raise DatasetError(
            f"case {case}: {file} has spacing {found.spacing_mm} mm (z, y, x), but {first_file} has "
            f"{first.spacing_mm}; correct the header or replace the file"
        )
    if found.file_dimensions != first.file_dimensions:
        return []
    differences = [
        word
        for word, one, two, tolerance in (
            ("origin", found.origin_mm, first.origin_mm, ORIGIN_TOLERANCE_MM),
            ("direction", found.direction, first.direction, DIRECTION_TOLERANCE),
        )
        if not np.allclose(one, two, rtol=1e-5, atol=tolerance)
    ]
    if not differences:
        return []
    return [
        f"case {case}: {file} and {first_file} differ in {' and '.join(differences)}; they are compared voxel by voxel "
        "all the same: check that they fit"
    ]
