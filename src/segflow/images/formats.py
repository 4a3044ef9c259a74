"""Which image files there are: their endings and names, and the files that belong to them.

Source: method.md section 3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.contracts.spelling import nfc
from segflow.images.dicom.files import is_dicom, slices_of
from segflow.storage.files import digest_of, key_of

__all__ = [
    "DICOM",
    "ENDINGS",
    "FLAT_ENDINGS",
    "FLAT_SPACING",
    "LOSSY_ENDINGS",
    "NIFTI_ENDINGS",
    "TIFF_ENDINGS",
    "WITHIN",
    "WITHOUT_SPACING",
    "companions",
    "digest_of_image",
    "ending_of",
    "file_geometry",
    "format_of",
    "geometry_of_picture",
    "has_orientation",
    "has_spacing",
    "label_ending",
    "largest_label",
    "meta_header",
    "side_content",
    "side_file",
    "spacings_are_stored",
    "spelled",
    "split_name",
]

NIFTI_ENDINGS = (".nii.gz", ".nii")
TIFF_ENDINGS = (".tif", ".tiff")
LOSSY_ENDINGS = (".jpg", ".jpeg")
#: Pictures of one slice.
FLAT_ENDINGS = (".png", ".bmp", *LOSSY_ENDINGS)
#: All that can be read, in lower case; upper case is the same format.
ENDINGS = (*NIFTI_ENDINGS, ".nrrd", ".mha", ".mhd", ".gipl", *FLAT_ENDINGS, *TIFF_ENDINGS)
#: A file of a DICOM series, which may have any name, stands for all of them; data sets are converted (segflow import).
DICOM = ".dcm"
#: Formats that store no reliable spacing: resolutions in their files are for printing.
WITHOUT_SPACING = (*FLAT_ENDINGS, *TIFF_ENDINGS)
#: A 2D file's third spacing, or this times its largest: never resampled, always coarsest.
FLAT_SPACING = 999.0
_CHANNEL = re.compile(r"(?P<identifier>.+)_(?P<channel>\d{4})", re.ASCII | re.DOTALL)
_HEADER_BYTES = 1 << 20  # more than any header of a .mhd, which is text
#: An ElementDataFile of MetaImage that says that the voxels follow the header.
WITHIN = ("LOCAL", "Local", "local")


def ending_of(file: Path) -> str:
    """The format of a file, by its name: one of `ENDINGS`, `DICOM`, or ""."""
    name = file.name.lower()
    return next((ending for ending in (*ENDINGS, DICOM) if name.endswith(ending)), "")


def format_of(file: Path) -> str:
    """The format of a file, by its name, or by its content where that is DICOM; or ""."""
    return ending_of(file) or (DICOM if is_dicom(file) else "")


def has_orientation(file: Path) -> bool:
    """Whether the format stores how an image is oriented in the body."""
    return ending_of(file) not in WITHOUT_SPACING


def split_name(file: Path) -> tuple[str, int | None]:
    """The identifier and the channel that an image's name holds: CASE and 0 of CASE_0000.nii.gz, None without one.

    The identifier is spelled in one way (NFC), whatever that of the file; `spelled` finds files by it.
    """
    stem = nfc(file.name[: len(file.name) - len(ending_of(file))])
    match = _CHANNEL.fullmatch(stem)
    return (match["identifier"], int(match["channel"])) if match else (stem, None)


def spelled(file: Path) -> Path:
    """The existing file of this name in any spelling (NFC, NFD), or the path as it is."""
    if file.exists() or file.name.isascii() or not file.parent.is_dir():
        return file
    return next((other for other in file.parent.iterdir() if nfc(other.name) == nfc(file.name)), file)


def label_ending(ending: str) -> str:
    """The ending of label maps beside images of an ending: the same, but .png for JPEG, which is lossy, or DICOM's."""
    return {DICOM: ".nii.gz", **dict.fromkeys(LOSSY_ENDINGS, ".png")}.get(ending.lower(), ending)


def largest_label(ending: str) -> int:
    """The largest value that a label map of an ending is written with."""
    return 255 if ending.lower() == ".bmp" else 65535


def side_file(file: Path) -> Path | None:
    """The JSON file that holds an image's spacing, if the format needs one and it is there.

    Other programs (labelme, BIDS) put JSON files of the same name beside images: without "spacing", it is not ours.

    Args:
        file: An image, as in `CASE_0000.tif`, or a label map, as in `CASE.tif`; the side file is `CASE.json`.

    Source: method.md section 3.
    """
    ending = ending_of(file)
    if ending not in WITHOUT_SPACING:
        return None
    names = dict.fromkeys((file.name[: -len(ending)], split_name(file)[0]))
    return next((path for name in names if _is_side_file(path := file.with_name(f"{name}.json"))), None)


def _is_side_file(file: Path) -> bool:
    """Whether it is there and not a JSON object without a spacing; one that cannot be read is, and refused later."""
    if not file.is_file():
        return False
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        return True
    return not isinstance(found, dict) or "spacing" in found


def has_spacing(file: Path) -> bool:
    """Whether the spacing of an image is stored, in its file or a side file, and not the default."""
    return ending_of(file) not in WITHOUT_SPACING or side_file(file) is not None


def spacings_are_stored(ending: str, spacings: Iterable[Sequence[float]]) -> bool:
    """Whether images of an ending have other spacings (z, y, x) than those that are taken where none is stored."""
    defaults = {(1.0, 1.0, 1.0), (FLAT_SPACING, 1.0, 1.0)}
    return ending.lower() not in WITHOUT_SPACING or not defaults.issuperset(map(tuple, spacings))


def file_geometry(
    size: Sequence[int], spacing_mm: Sequence[float], origin_mm: Sequence[float], direction: Sequence[float]
) -> Geometry:
    """The geometry of an image of two or three axes by what its file holds: x first, the direction row by row."""
    x, y, z = (*size[:3], 1)[:3]
    x_mm, y_mm, *rest = spacing_mm
    return Geometry(
        shape=(z, y, x),
        spacing_mm=(rest[0] if rest else FLAT_SPACING * max(spacing_mm), y_mm, x_mm),
        file_dimensions=len(spacing_mm),
        file_spacing_mm=tuple(spacing_mm),
        origin_mm=tuple(origin_mm),
        direction=tuple(direction),
    )


def geometry_of_picture(file: Path, shape: tuple[int, ...]) -> Geometry:
    """The geometry of a picture or a TIFF file: with the spacing of its side file, or the default one.

    Args:
        file: Its content is not read.
        shape: (z, y, x).

    Raises:
        DatasetError: The side file is not {"spacing": [z, y, x]}, three positive numbers in millimetres.

    Source: method.md section 3.
    """
    side = side_file(file)
    z, y, x = shape
    dimensions = 2 if z == 1 else 3
    spacing = (FLAT_SPACING if z == 1 else 1.0, 1.0, 1.0) if side is None else _read_side_file(side)
    return Geometry(
        shape=(z, y, x),
        spacing_mm=spacing,
        file_dimensions=dimensions,
        file_spacing_mm=spacing[::-1][:dimensions],
        origin_mm=(0.0,) * dimensions,
        direction=(1.0, 0.0, 0.0, 1.0) if z == 1 else (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )


def side_content(ending: str, geometry: Geometry, *, replaces: bool) -> str | None:
    """The text of the side file that a written image needs, or None; if it replaces one, also of the default."""
    is_default = geometry.file_dimensions == 2 and geometry.spacing_mm == (FLAT_SPACING, 1.0, 1.0)
    if ending not in WITHOUT_SPACING or (is_default and not replaces):
        return None
    return json.dumps({"spacing": list(geometry.spacing_mm)}) + "\n"


def companions(file: Path) -> tuple[Path, ...]:
    """Further files that an image's content depends on.

    A side file, existing files that a .mhd header names, or the other slices of a DICOM series.
    """
    side = side_file(file)
    if side is not None:
        return (side,)
    if file.exists() and format_of(file) == DICOM:
        return tuple(one for one in slices_of(file) if one != file)
    if ending_of(file) != ".mhd" or not file.exists():
        return ()
    fields, _, rest = meta_header(file)
    name = fields.get("ElementDataFile")
    if name is None or name in WITHIN:
        return ()
    names = rest.decode("utf-8", "replace").strip().splitlines() if name.startswith("LIST") else [name]
    return tuple(path for one in names if (path := file.parent / one).is_file())


def meta_header(file: Path) -> tuple[dict[str, str], int, bytes]:
    """Names and values of a MetaImage header, its size, and some of what follows: names of files, or voxels."""
    with file.open("rb") as stream:
        head = stream.read(_HEADER_BYTES)
    fields: dict[str, str] = {}
    start = 0
    for line in head.splitlines(keepends=True):
        start += len(line)
        name, value = (*re.split("[=:]", line.decode("utf-8", "replace"), maxsplit=1), "")[:2]
        fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            break
    return fields, start, head[start:]


def digest_of_image(file: Path) -> str:
    """SHA-256 of an image file, and of its companions if it has any, in hexadecimal."""
    digests = [digest_of(part) for part in (file, *companions(file))]
    return digests[0] if len(digests) == 1 else key_of(*digests)


def _read_side_file(file: Path) -> tuple[float, float, float]:
    try:
        z, y, x = (float(value) for value in json.loads(file.read_text(encoding="utf-8-sig"))["spacing"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        z = y = x = 0.0
    if not all(0 < value < float("inf") for value in (z, y, x)):
        raise DatasetError(
            f'its side file {file} must hold {{"spacing": [z, y, x]}}, three positive numbers (mm)'
        )
    return z, y, x
