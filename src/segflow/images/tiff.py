"""What SimpleITK cannot do for TIFF: see that a file was cut short, and read the rarer kinds."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["TiffPages", "read_tiff", "survey"]

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _PLANAR, _TILE_WIDTH, _SAMPLE_FORMAT = 277, 284, 322, 339
_DEFAULTS = {_BITS: 1, _COMPRESSION: 1, _SAMPLES: 1, _PLANAR: 1, _TILE_WIDTH: 0, _SAMPLE_FORMAT: 1}
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_INVERTED, _GREY, _COLOURS = 0, 1, 2  # photometric interpretations; 3 is a palette
_FLOAT = 3  # sample format


@dataclass(frozen=True)
class TiffPages:
    """What the pages of a file have in common.

    Attributes:
        shape: (pages, rows, columns).
        channels: Values per voxel.
        simple: SimpleITK reads it as it is: it takes 16-bit floats for whole numbers, stretches masks of 1 bit to 255,
            looks palettes up, and reduces tiles to 8 bits.
    """

    shape: tuple[int, int, int]
    channels: int
    simple: bool


def survey(file: Path) -> TiffPages:
    """Go through the directory of a TIFF file; no voxel is read.

    Args:
        file: TIFF or BigTIFF.

    Returns:
        Its pages.

    Raises:
        ValueError: It is no TIFF, it was cut short, or its pages differ in size.
    """
    with file.open("rb") as stream:
        try:
            pages = [tuple(sorted(page.items())) for page in _directories(stream)]
        except (struct.error, OverflowError):
            raise ValueError("its directory of pages is cut short") from None
    if not pages:
        raise ValueError("it has no page")
    if len(set(pages)) > 1:
        raise ValueError("its pages differ in size or type")
    tags = dict(pages[0])
    depth, samples = tags[_BITS], tags[_SAMPLES]
    simple = (
        not tags[_TILE_WIDTH]
        and (tags[_PLANAR] == 1 or samples == 1)
        and tags[_PHOTOMETRIC] in ({_INVERTED, _GREY} if samples == 1 else {_COLOURS})
        and (depth in {8, 32} or (depth == 16 and tags[_SAMPLE_FORMAT] != _FLOAT))
    )
    return TiffPages((len(pages), tags[_HEIGHT], tags[_WIDTH]), samples, simple)


def read_tiff(file: Path, pages: TiffPages) -> NDArray[Any]:
    """Read the kinds that are not simple.

    Args:
        file: TIFF.
        pages: Of it.

    Returns:
        (c, z, y, x); a palette's numbers, not its colours.

    Raises:
        ValueError: The file is damaged, or compressed in a way that this environment cannot undo.
    """
    import tifffile  # noqa: PLC0415  slow to import, and seldom needed

    try:
        with tifffile.TiffFile(file) as stream:
            array = np.stack([page.asarray() for page in stream.pages])
    except (struct.error, zlib.error, LookupError, RuntimeError, TypeError) as problem:
        raise ValueError(f"its pages cannot be read ({problem})") from None
    if pages.channels == 1:
        array = array.reshape(1, *pages.shape)
    elif array.shape[1] == pages.channels and array.shape[1:] != (*pages.shape[1:], pages.channels):  # planes
        array = np.moveaxis(array, 1, 0)
    else:
        array = np.moveaxis(array, -1, 0)
    if array.shape != (pages.channels, *pages.shape):
        raise ValueError(f"its pages hold arrays of shape {array.shape[1:]}")
    return array.astype(np.uint8) if array.dtype == np.bool_ else array


def _directories(stream: BinaryIO) -> Iterator[dict[int, int]]:
    """The tags of each page that matter here, first values only."""
    start = stream.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None or len(start) < 8:
        raise ValueError("it is not a TIFF file")
    (version,) = struct.unpack_from(f"{order}H", start, 2)
    if version not in {42, 43}:
        raise ValueError("it is not a TIFF file")
    big = version == 43
    (offset,) = (
        struct.unpack_from(f"{order}Q", start, 8) if big else struct.unpack_from(f"{order}I", start, 4)
    )
    seen = set()
    while offset:
        if offset in seen:
            raise ValueError("its directory of pages goes round in a circle")
        seen.add(offset)
        page, offset = _directory(stream, offset, order, big=big)
        yield page


def _directory(stream: BinaryIO, offset: int, order: str, *, big: bool) -> tuple[dict[int, int], int]:
    """One page's tags, and where the next page is."""
    stream.seek(offset)
    count_type, entry_bytes, pointer = ("Q", 20, "Q") if big else ("H", 12, "I")
    (count,) = struct.unpack(f"{order}{count_type}", stream.read(struct.calcsize(f"={count_type}")))
    if not count:
        raise ValueError("its directory of pages is damaged")
    raw = stream.read(count * entry_bytes)
    (following,) = struct.unpack(f"{order}{pointer}", stream.read(struct.calcsize(f"={pointer}")))
    tags = dict(_DEFAULTS)
    for position in range(0, len(raw), entry_bytes):
        tag, kind, n = struct.unpack_from(f"{order}HH{pointer}", raw, position)
        if (tag in _DEFAULTS or tag in {_WIDTH, _HEIGHT, _PHOTOMETRIC}) and kind in _TYPES:
            tags[tag] = _first_value(
                stream, raw[position : position + entry_bytes], order, (kind, n), big=big
            )
    if not {_WIDTH, _HEIGHT, _PHOTOMETRIC} <= tags.keys():
        raise ValueError("its directory of pages is damaged")
    return tags, following


def _first_value(stream: BinaryIO, entry: bytes, order: str, kind: tuple[int, int], *, big: bool) -> int:
    """The first of a tag's values, which stand in its entry if there is room, and elsewhere if not."""
    code, room, at = _TYPES[kind[0]], 8 if big else 4, 12 if big else 8
    size = struct.calcsize(f"={code}")
    if kind[1] * size <= room:
        return int(struct.unpack_from(f"{order}{code}", entry, at)[0])
    (offset,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", entry, at)
    stream.seek(offset)
    return int(struct.unpack(f"{order}{code}", stream.read(size))[0])
