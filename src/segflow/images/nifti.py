"""What SimpleITK leaves undone for NIfTI: files that were cut short, placing a file to the last bit, and speed.

Source: ours, after the NIfTI-1 standard.

The header of a NIfTI-1 file: the part that is needed here, read and written. Source: the NIfTI-1 standard.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "HEADER_BYTES",
    "NIFTI_ENDINGS",
    "Header",
    "complain",
    "new_header",
    "parse_header",
    "placement",
    "verify",
    "voxels",
    "write_placed",
]

HEADER_BYTES: Final = 348
_FIRST_VOXEL: Final = 352  # after the header: four bytes that say that nothing else is in between
_ONE_FILE: Final = b"n+1\0"  # header and voxels
#: Codes of the types that label maps and images have.
_CODES: Final = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768}
_DISPLACEMENT: Final = 1006
_TYPES: Final = {code: name for name, code in _CODES.items()}
_PLACE: Final = "<4fB2h18f"  # see Header.place


@dataclass(frozen=True)
class Header:
    """What a header says.

    Attributes:
        sizes: Voxels along each axis, x first; without last axes of one voxel, as far as there are more than three.
        spacing_mm: Along x, y, z, as stored: also negative, or 0.
        dtype: Of the voxels, with their byte order; None for complex numbers, colours and whole numbers of 64 bits.
        bits: Of a voxel, as the header says; the type says it, too.
        offset: Of the first voxel.
        is_scaled: Voxels are to be multiplied or shifted.
        is_one_file: The voxels are in the same file.
        is_displacement: The voxels are vectors of a deformation.
        place: pixdim[0..3], xyzt_units, qform_code, sform_code, quaternion and offset (6), affine (12), in hexadecimal.
    """

    sizes: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    dtype: np.dtype[Any] | None
    bits: int
    offset: int
    is_scaled: bool
    is_one_file: bool
    is_displacement: bool
    place: str

    @property
    def is_ordinary(self) -> bool:
        """One or several images of two or three axes, stored behind the header as the numbers that they are."""
        return (
            self.dtype is not None
            and self.is_one_file
            and not self.is_scaled
            and not self.is_displacement
            and len(self.sizes) in {2, 3, 4}
            and min(self.sizes) > 0
            and min(self.spacing_mm[: len(self.sizes)]) > 0
            and self.offset > HEADER_BYTES
        )

    @property
    def n_bytes(self) -> int:
        """Of the file, uncompressed, if it is whole."""
        bits = self.bits if self.dtype is None else 8 * self.dtype.itemsize
        return self.offset + math.prod(self.sizes) * bits // 8


def parse_header(content: bytes) -> Header | None:
    """Read a header.

    Args:
        content: The beginning of a file, or all of it, uncompressed.

    Returns:
        The header; None if it is none of NIfTI-1.

    Source: the NIfTI-1 standard.
    """
    order = next((o for o in "<>" if content[:4] == struct.pack(f"{o}i", HEADER_BYTES)), None)
    if order is None or len(content) < HEADER_BYTES:
        return None
    axes, *sizes = struct.unpack_from(f"{order}8h", content, 40)
    while axes > 3 and sizes[axes - 1] == 1:
        axes -= 1
    (intent,) = struct.unpack_from(f"{order}h", content, 68)
    kind, bits = struct.unpack_from(f"{order}2h", content, 70)
    offset, slope, intercept = struct.unpack_from(f"{order}3f", content, 108)
    if not (0 < axes < 8 and math.isfinite(offset)):
        return None
    place = (
        *struct.unpack_from(f"{order}4f", content, 76),
        content[123],
        *struct.unpack_from(f"{order}2h18f", content, 252),
    )
    return Header(
        sizes=tuple(sizes[:axes]),
        spacing_mm=(place[1], place[2], place[3]),
        dtype=np.dtype(f"{order}{_TYPES[kind]}") if kind in _TYPES else None,
        bits=bits,
        offset=int(offset),
        is_scaled=slope not in {0, 1} or intercept != 0,
        is_one_file=content[344:HEADER_BYTES] == _ONE_FILE,
        is_displacement=intent == _DISPLACEMENT,
        place=struct.pack(_PLACE, *place).hex(),
    )


def new_header(sizes: tuple[int, ...], dtype: np.dtype[Any], place: str) -> bytes:
    """Make a header, and what stands between it and the first voxel.

    Args:
        sizes: Voxels along each axis, x first.
        dtype: Of the voxels, which follow in little-endian order.
        place: Of another file's header, which is repeated bit by bit.

    Returns:
        All that comes before the voxels.

    Source: the NIfTI-1 standard.
    """
    content = bytearray(_FIRST_VOXEL)
    fields = struct.unpack(_PLACE, bytes.fromhex(place))
    struct.pack_into("<i", content, 0, HEADER_BYTES)
    content[38:39] = b"r"
    struct.pack_into("<8h", content, 40, len(sizes), *sizes, *(1,) * (7 - len(sizes)))
    struct.pack_into("<2h", content, 70, _CODES[dtype.str[1:]], dtype.itemsize * 8)
    struct.pack_into("<4f", content, 76, *fields[:4])
    struct.pack_into("<2f", content, 108, _FIRST_VOXEL, 1)
    struct.pack_into("<B", content, 123, fields[4])
    struct.pack_into("<2h18f", content, 252, *fields[5:])
    content[344:HEADER_BYTES] = _ONE_FILE
    return bytes(content)


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
