"""What SimpleITK leaves undone for NIfTI: files that were cut short, placing a file to the last bit, and speed.

Source: ours, after the NIfTI-1 standard.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from segflow.io.nifti_header import HEADER_BYTES, Header, new_header, parse_header

__all__ = ["NIFTI_ENDINGS", "complain", "placement", "verify", "voxels", "write_placed"]

NIFTI_ENDINGS: Final = (".nii", ".nii.gz")

_GZIP = b"\x1f\x8b"
_GZIP_BITS = 16  # zlib's way to ask for this format
_GZIP_LEVEL = 6
_FIRST_BYTES = 1 << 12
_BLOCK_BYTES = 1 << 22
_LARGE_BYTES = 1 << 24  # from here on, the library's faster decompression outweighs what it does besides
_CUT = "it ends before its last voxel"
_DAMAGED = "its checksum is wrong: it was damaged or cut short"


def placement(file: Path) -> str:
    """The fields of the header that place the image, in hexadecimal.

    Args:
        file: .nii or .nii.gz.

    Returns:
        What `write_placed` needs; "" if there is no NIfTI-1 header.

    Source: ours.
    """
    header = _header(file)
    return "" if header is None else header.place


def write_placed(file: Path, volume: NDArray[Any], place: str) -> None:
    """Write a file that lies where another one does, bit by bit.

    Args:
        file: .nii or .nii.gz, compressed; always the same bytes for the same voxels.
        volume: (z, y, x), or (y, x) for a file of two axes; float32, or integers of up to 32 bits.
        place: From `placement`.

    Source: ours: SimpleITK computes the header anew, which changes directions by 1e-8, and takes three times as long.
    """
    header = new_header(volume.shape[::-1], volume.dtype, place)
    content = np.ascontiguousarray(volume, volume.dtype.newbyteorder("<")).data
    with file.open("wb") as target:
        if not file.name.lower().endswith(".gz"):
            target.write(header)
            target.write(content)
            return
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, target, mtime=0) as archive:
            archive.write(header)
            archive.write(content)


def complain(file: Path) -> str | None:
    """Why a file must not be read, though the library would: it takes missing voxels for zeros.

    Args:
        file: .nii or .nii.gz.

    Returns:
        The reason, or None. It costs no decompression where the archive's last bytes give the expected length.

    Source: ours.
    """
    plain = _plain_beside(file)
    if plain is not None:
        return f"{plain.name} lies beside it, and the NIfTI library would take the voxels from there; move one away"
    header = _header(file)
    if header is None:  # NIfTI-2, or nothing of the kind: the library's to say
        return None
    found = _quick_length(file)
    if not _is_gzip(file):
        whole = found >= header.n_bytes
    else:
        whole = found == header.n_bytes % (1 << 32) or (_length(file) or 0) >= header.n_bytes
    return None if whole else _CUT


def voxels(file: Path) -> NDArray[Any] | None:
    """The voxels of an ordinary file, several times faster than by the library, which also takes NaN for zero.

    Args:
        file: .nii or .nii.gz.

    Returns:
        (z, y, x), or (y, x) of a file of two axes, or (c, z, y, x) of one of four, as stored; or None for what the
        library must read, or say what is wrong with: anything but a NIfTI-1 file of unscaled numbers; and for large
        volumes of integers, which it reads as well and faster.

    Raises:
        ValueError: The file is damaged or was cut short.

    Source: ours.
    """
    header = _header(file)
    if header is None or header.dtype is None or not _is_ours(header) or _plain_beside(file) is not None:
        return None
    if _is_gzip(file):
        if not file.name.lower().endswith(".gz"):
            return None
        content = _unpacked(file, header.n_bytes)
    else:
        content = file.read_bytes()
    if header.n_bytes > len(content):
        raise ValueError(_CUT)
    count = math.prod(header.sizes)
    return np.frombuffer(content, header.dtype, count, header.offset).reshape(header.sizes[::-1])


def verify(file: Path) -> str | None:
    """Decompress a file to its end, checksum included, unless `voxels` has done so.

    Args:
        file: .nii or .nii.gz; it could be read.

    Returns:
        What is wrong, or None.

    Source: ours.
    """
    header = _header(file)
    if header is not None and _is_ours(header):
        return None
    return _DAMAGED if _is_gzip(file) and _length(file) is None else None


def _is_ours(header: Header) -> bool:
    """Whether `voxels` reads such a file."""
    has_no_nan = header.dtype is not None and header.dtype.kind != "f"
    return header.is_ordinary and not (has_no_nan and header.n_bytes > _LARGE_BYTES)


def _unpacked(file: Path, n_bytes: int) -> bytes:
    """The content of an archive, checksums looked at. Nearly always, it has one part, which can be had at once."""
    try:
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | _GZIP_BITS)
        first = unpacker.decompress(file.read_bytes())
        if unpacker.eof and len(first) >= n_bytes:
            return first
        with gzip.open(file) as stream:
            return stream.read()
    except EOFError:
        raise ValueError(_CUT) from None
    except (gzip.BadGzipFile, zlib.error):
        raise ValueError(_DAMAGED) from None


def _plain_beside(file: Path) -> Path | None:
    plain = file.with_name(file.name[:-3])
    return plain if file.name.lower().endswith(".gz") and plain.exists() else None


def _is_gzip(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(2) == _GZIP


def _quick_length(file: Path) -> int:
    """Bytes of a plain file; of an archive of one part, its content's modulo 2^32."""
    if not _is_gzip(file):
        return file.stat().st_size
    with file.open("rb") as stream:
        stream.seek(-4, 2)
        return int(struct.unpack("<I", stream.read(4))[0])


def _length(file: Path) -> int | None:
    """Bytes of an archive's content, or None if it is damaged."""
    total = 0
    try:
        with gzip.open(file) as stream:
            while block := stream.read(_BLOCK_BYTES):
                total += len(block)
    except (EOFError, OSError, zlib.error):
        return None
    return total


def _header(file: Path) -> Header | None:
    try:
        with file.open("rb") as stream:
            raw = stream.read(_FIRST_BYTES)
        if raw.startswith(_GZIP):
            raw = zlib.decompressobj(wbits=zlib.MAX_WBITS | _GZIP_BITS).decompress(raw, HEADER_BYTES)
        if len(raw) < HEADER_BYTES:  # an archive with long words before its content
            with gzip.open(file) if _is_gzip(file) else file.open("rb") as stream:
                raw = stream.read(HEADER_BYTES)
    except (EOFError, OSError, zlib.error):
        return None
    return parse_header(raw)
