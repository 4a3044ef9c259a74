"""Headers of files that SimpleITK reads, checked first: it crashes on some faults and accepts others.

Sources: the definitions of MetaImage, NRRD and GIPL.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from segflow.contracts.errors import DatasetError
from segflow.images.formats import WITHIN, companions, ending_of, meta_header
from segflow.images.limits import DEFLATED, UNBOUNDED, check_position, check_size, check_spacing

__all__ = ["check_header"]

_TEXT_BYTES: Final = 1 << 20  # more than a header of text has
_META_AXES: Final = range(1, 11)
_NRRD_AXES: Final = range(1, 17)
_TYPE_BYTES: Final = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
#: The first word that is in the name of a type tells its size; "char" has one byte.
_NRRD_BYTES: Final = dict(
    zip(
        ("8", "16", "32", "64", "short", "long", "int", "float", "double"),
        (1, 2, 4, 8, 2, 8, 4, 4, 8),
        strict=True,
    )
)
_NRRD_PACKING: Final = {"raw": 1.0, "hex": 0.5, "gz": DEFLATED, "gzip": DEFLATED}
_NRRD_TEXT: Final = ("txt", "text", "ascii")
_GIPL: Final = struct.Struct(">4HH4f")  # sizes, type, spacing
_GIPL_ORIGIN: Final = struct.Struct(">4d")
_GIPL_ORIGIN_AT, _GIPL_BYTES = 204, 256
_GIPL_TYPE_BYTES: Final = {15: 2, 16: 2, 31: 4, 32: 4, 64: 4, 65: 8}


def check_header(file: Path) -> None:
    """Refuse a file whose header a library would crash on, or that contradicts the file's size or the memory.

    A file that is not of the format its ending names passes; the library reports it.

    Raises:
        DatasetError: The header cannot be right, or names a file elsewhere.
    """
    check = _CHECKS.get(ending_of(file))
    if check is not None:
        check(file)


def _check_meta(file: Path) -> None:
    fields, start, _ = meta_header(file)
    if "NDims" not in fields or "ElementDataFile" not in fields:
        raise DatasetError(
            "it is no MetaImage file, or its header was cut short; replace it, or remove the case"
        )
    (n_axes,) = _whole("NDims", fields["NDims"], 1, _META_AXES)
    sizes = _whole("DimSize", fields.get("DimSize", ""), n_axes)
    (channels,) = _whole("ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"), 1)
    for name in ("ElementSpacing", "ElementSize"):
        check_spacing(_numbers(name, fields.get(name, "1 " * n_axes), n_axes))
    for name in ("Offset", "Origin", "Position"):
        check_position(name, _numbers(name, fields.get(name, "0 " * n_axes), n_axes))
    for name in ("TransformMatrix", "Orientation", "Rotation"):
        check_position(name, _numbers(name, fields.get(name, "0 " * n_axes**2), n_axes**2))
    stored = _meta_bytes(file, fields["ElementDataFile"], start)
    if stored is None:  # the library says that there is no such file
        return
    kind = fields.get("ElementType", "").removeprefix("MET_").removesuffix("_ARRAY").removeprefix("U")
    value_bytes = _TYPE_BYTES.get(kind)
    if value_bytes is None or channels < 1:
        raise DatasetError(f"its header declares {channels} channels of type {kind}; correct the header")
    is_text = fields.get("BinaryData", "True")[:1] in {"F", "f", "0"}
    is_packed = fields.get("CompressedData", "False")[:1] in {"T", "t", "1"}
    check_size(sizes, channels * (1 if is_text else value_bytes), stored, DEFLATED if is_packed else 1.0)


def _meta_bytes(file: Path, data: str, start: int) -> int | None:
    """Bytes of the file or files of voxels; None if there are none."""
    if data in WITHIN:
        return file.stat().st_size - start
    if ending_of(file) == ".mha":
        raise DatasetError(f"its voxels are in another file ({data}); save it as one file, or as .mhd")
    if "%" in data:
        raise DatasetError(
            f"it names its files of voxels by a pattern ({data}); save it with one file of voxels"
        )
    names, folder = companions(file), Path(os.path.normpath(file.parent))
    if any(folder not in Path(os.path.normpath(name)).parents for name in names):
        raise DatasetError(f"its voxels are in another folder ({data}); put them beside it")
    return sum(name.stat().st_size for name in names) if names else None


def _check_nrrd(file: Path) -> None:
    with file.open("rb") as stream:
        head = stream.read(_TEXT_BYTES)
    if not head.startswith(b"NRRD"):
        return
    text = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
    pairs = (line.partition(":") for line in text.decode("latin-1").splitlines()[1:] if ":=" not in line)
    fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if any(name in fields for name in ("data file", "datafile")):
        raise DatasetError("its voxels are in another file; save it as one file")
    (n_axes,) = _whole("dimension", fields.get("dimension", ""), 1, _NRRD_AXES)
    sizes = _whole("sizes", fields.get("sizes", ""), n_axes)
    _check_nrrd_position(fields, n_axes)
    encoding = fields.get("encoding", "raw").lower()
    value_bytes = next(
        (size for word, size in _NRRD_BYTES.items() if word in fields.get("type", "").lower()), 1
    )
    packing = 1.0 if encoding in _NRRD_TEXT else _NRRD_PACKING.get(encoding, UNBOUNDED)
    stored = file.stat().st_size - len(text)
    check_size(sizes, 1 if encoding in _NRRD_TEXT else value_bytes, stored, packing)


def _check_nrrd_position(fields: dict[str, str], n_axes: int) -> None:
    """Axes that are not in space may have the spacing NaN."""
    kinds = fields.get("kinds", "space " * n_axes).split()
    in_space = [kind.lower() in {"space", "domain"} for kind in kinds]
    spacings = _numbers("spacings", fields.get("spacings", "1 " * n_axes), n_axes)
    check_spacing(value for value, is_in in zip(spacings, in_space, strict=False) if is_in)
    for vector in re.findall(r"\(([^)]*)\)", fields.get("space directions", "")):
        values = _numbers("space directions", vector.replace(",", " "))
        check_position("space directions", values)
        check_spacing([sum(value * value for value in values) ** 0.5])
    origin = fields.get("space origin", "").strip("() \t").replace(",", " ")
    check_position("space origin", _numbers("space origin", origin))


def _check_gipl(file: Path) -> None:
    with file.open("rb") as stream:
        head = stream.read(_GIPL_BYTES)
    if len(head) < _GIPL_BYTES:
        raise DatasetError("it ends within its header; replace it, or remove the case")
    x, y, z, t, kind, *spacing = _GIPL.unpack_from(head)
    check_spacing(spacing[:3])
    check_position("origin", _GIPL_ORIGIN.unpack_from(head, _GIPL_ORIGIN_AT)[:3])
    sizes = [x, y, max(z, 1), max(t, 1)]
    check_size(sizes, _GIPL_TYPE_BYTES.get(kind, 1), file.stat().st_size - _GIPL_BYTES)


def _whole(name: str, text: str, count: int, possible: range | None = None) -> list[int]:
    values = [int(value) for value in _numbers(name, text, count) if value == value // 1]
    if len(values) < count or (possible is not None and values[0] not in possible):
        raise DatasetError(
            f"its header holds {name} = {text[:60]!r}; correct the header, or replace the file"
        )
    return values


def _numbers(name: str, text: str, count: int | None = None) -> list[float]:
    with suppress(ValueError):
        values = [float(word) for word in text.split()]
        if count is None or len(values) == count:
            return values
    raise DatasetError(f"its header holds {name} = {text[:60]!r}; correct the header, or replace the file")


#: The check of each format's header.
_CHECKS: Final[dict[str, Callable[[Path], None]]] = {
    ".mha": _check_meta,
    ".mhd": _check_meta,
    ".nrrd": _check_nrrd,
    ".gipl": _check_gipl,
}
