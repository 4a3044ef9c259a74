"""Whether the files of a case belong together. Source: method.md sections 3, 4."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.io.decode import Decoded
from segflow.io.formats import FLAT_ENDINGS, ending_of

__all__ = ["compare", "missing_spacing"]

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
