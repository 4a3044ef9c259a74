"""Writing image files so that they lie where they should, each whole or not there. Source: method.md sections 3, 17."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.images import nifti
from segflow.images.decode import ITK_FORMATS
from segflow.images.formats import (
    ENDINGS,
    FLAT_ENDINGS,
    FLAT_SPACING,
    LOSSY_ENDINGS,
    TIFF_ENDINGS,
    WITHOUT_SPACING,
    ending_of,
    label_ending,
)
from segflow.images.hush import hushed
from segflow.storage.files import write_atomically

__all__ = ["check_storable", "encode"]

_DIGEST_FIELD = "VoxelsSHA256"  # in the header of a .mhd, which would be the same for other voxels


def check_storable(path: Path, labels: NDArray[np.integer[Any]]) -> np.dtype[Any]:
    """The type in which label values are stored.

    Args:
        path: Its ending chooses the format.
        labels: Values.

    Returns:
        uint8 if they fit, else uint16.

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
    dtype = np.dtype(np.uint8 if largest <= np.iinfo(np.uint8).max else np.uint16)
    limit = np.iinfo(np.uint8 if ending == ".bmp" else np.uint16).max
    if smallest < 0 or largest > limit:
        raise DatasetError(
            f"{path}: a {ending} file holds labels from 0 to {limit}, but these are {smallest} to {largest}; "
            "use another file_ending"
        )
    return dtype


def encode(path: Path, volume: NDArray[Any], geometry: Geometry) -> None:
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
    if ending not in ITK_FORMATS:
        raise DatasetError(
            f"{path} cannot be written: its ending is none of {', '.join(ENDINGS)} (without JPEG)"
        )
    if geometry.file_dimensions != 2 and ending in FLAT_ENDINGS:
        raise DatasetError(f"{path} cannot be written: {ending} is for 2D images, and this one has 3 axes")
    volume = volume[0] if geometry.file_dimensions == 2 else volume
    if ending in nifti.NIFTI_ENDINGS and geometry.nifti_placement:
        write_atomically(path, lambda file: nifti.write_placed(file, volume, geometry.nifti_placement))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{os.getpid()}.", dir=path.parent) as folder:
        # the final name, in which a header may name its data file; libraries know lower-case endings only
        file = Path(folder, path.name[: -len(ending)] + ending)
        _write(file, volume, geometry)
        _publish(file, path, geometry)


def _write(file: Path, volume: NDArray[Any], geometry: Geometry) -> None:
    """Write beside nothing else."""
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing(geometry.file_spacing_mm)
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(geometry.direction)
    if ending_of(file) == ".mhd":
        image.SetMetaData(_DIGEST_FIELD, hashlib.sha256(volume.tobytes()).hexdigest())
    _itk_write(image, file)


def _itk_write(image: sitk.Image, file: Path) -> None:
    ending = ending_of(file)
    fault = ""
    with hushed():
        try:
            sitk.WriteImage(
                image,
                str(file),
                useCompression=True,
                imageIO=ITK_FORMATS[ending],
                compressor="Deflate" if ending in TIFF_ENDINGS else "",
            )
        except RuntimeError as problem:
            fault = str(problem).strip().splitlines()[-1]
    if fault:
        raise DatasetError(f"{file.name} cannot be written: {fault}")


def _publish(file: Path, path: Path, geometry: Geometry) -> None:
    """Rename what was written, the file itself last: while it is there, all that belongs to it is."""
    if ending_of(path) == ".mhd":
        path.unlink(missing_ok=True)  # an old header must not be seen with new voxels
        for data in file.parent.iterdir():
            if data != file:
                data.replace(path.with_name(data.name))
    side = _side_content(path, geometry)
    side_path = path.with_name(path.name[: -len(ending_of(path))] + ".json")
    if side is not None:
        write_atomically(side_path, lambda temporary: temporary.write_text(side, encoding="utf-8"))
    file.replace(path)


def _side_content(path: Path, geometry: Geometry) -> str | None:
    """What a picture's file does not say of its spacing."""
    if ending_of(path) not in WITHOUT_SPACING:
        return None
    if geometry.file_dimensions == 2 and geometry.spacing_mm == (FLAT_SPACING, 1.0, 1.0):
        return None
    return json.dumps({"spacing": list(geometry.spacing_mm)}) + "\n"
