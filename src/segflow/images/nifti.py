"""NIfTI: voxels and headers with nibabel, as SimpleITK reads them where it reads them well.

SimpleITK alone takes missing, NaN and infinite voxels for zeros, ignores most checksums, changes directions by 1e-8
when it writes (decision 0016), and loops for ever on some headers.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.images import itk
from segflow.images.contained import contained
from segflow.images.limits import DEFLATED, check_position, check_size, check_spacing
from segflow.images.placement import placed, remarks

__all__ = ["read_geometry", "read_voxels", "write"]

_HEADER_BYTES: Final = 348
_HEADER2_BYTES: Final = 540  # of NIfTI-2
_HEAD_BYTES: Final = 1 << 16  # of a file: the header is in them, also after a long name in an archive
_LARGEST_OFFSET: Final = 1 << 40
_MOST_AXES: Final = 4  # with a fifth, voxels are vectors
_SURPLUS: Final = 1 << 24  # bytes that may follow the voxels
_NO_EXTENSION: Final = bytes(4)  # between header and voxels
_GZIP: Final = b"\x1f\x8b"
_GZIP_WBITS: Final = zlib.MAX_WBITS | 16  # how zlib is told the format
_GZIP_LEVEL: Final = 6
_CUT: Final = "it ends before its last voxel; replace it, or remove the case"
_DISPLACEMENT: Final = 1006  # intent code: vectors of a deformation
_VECTORS: Final = (1004, 1005, 1007)  # intent codes that change which axes count: matrices and vectors
#: The bytes of a header that `Geometry.nifti_placement` holds: pixdim of x, y, z; xyzt_units; qform and sform. The
#: rest of pixdim is about axes that a label map does not have.
_PLACEMENT: Final[dict[type[Nifti1Header], tuple[slice, ...]]] = {
    Nifti1Header: (slice(76, 92), slice(123, 124), slice(252, 328)),
    Nifti2Header: (slice(104, 136), slice(500, 504), slice(344, 496)),
}


def read_voxels(file: Path) -> NDArray[Any]:
    """Read voxels, (c, z, y, x) of the file's own type.

    SimpleITK reads what is not plain numbers behind a NIfTI-1 header: scaled values, vectors, colours, mirrored axes.

    Raises:
        ValueError: The file cannot be read.
        DatasetError: It is damaged or was cut short, or a plain file lies beside the archive.
    """
    if _is_packed(file) and (plain := file.with_name(file.name[:-3])).exists():
        raise DatasetError(
            f"{plain.name} lies beside it, and NIfTI libraries would take the voxels from there; move one away"
        )
    header = _checked_header(file)
    dtype, sizes, start = header.get_data_dtype(), _sizes(header), int(header["vox_offset"])
    end = start + math.prod(sizes) * dtype.itemsize
    content = _content(file, end + _SURPLUS)
    if len(content) < end:
        raise DatasetError(_CUT)
    slope, shift = _scaling(header)
    if not isinstance(header, Nifti2Header) and ((slope, shift) != (1, 0) or not _is_plain(header)):
        return itk.read_voxels(file)
    array = np.frombuffer(content, dtype, math.prod(sizes), start).reshape(sizes[::-1])
    if (slope, shift) != (1, 0):
        array = apply_read_scaling(array, slope, shift)
    return array[(None,) * (4 - array.ndim)]


def read_geometry(file: Path) -> Geometry:
    """Read where an image lies, without its voxels.

    Raises:
        ValueError: The file cannot be read.
        DatasetError: It has another number of axes.
    """
    header = _checked_header(file)
    sizes = _sizes(header)
    is_plain = _is_plain(header) and header["intent_code"] not in _VECTORS
    geometry = (placed(header, sizes) if is_plain else None) or contained(itk.read_geometry, file)
    block = header.as_byteswapped("<").binaryblock
    placement = b"".join(block[part] for part in _PLACEMENT[type(header)]).hex()
    return geometry.model_copy(update={"nifti_placement": placement, "remarks": remarks(header, sizes)})


def write(file: Path, volume: NDArray[Any], geometry: Geometry) -> None:
    """Write one channel where another file lies, bit by bit; always the same bytes for the same voxels.

    Args:
        file: .nii, or .nii.gz, which is compressed.
        volume: (z, y, x), or (y, x) for a file of two axes.
        geometry: Without the placement of a NIfTI file, SimpleITK writes.

    Raises:
        DatasetError: The format cannot hold it.
    """
    if not geometry.nifti_placement:
        itk.write(file, volume, geometry)
        return
    placement = io.BytesIO(bytes.fromhex(geometry.nifti_placement))
    kind = next(
        kind
        for kind, parts in _PLACEMENT.items()
        if sum(part.stop - part.start for part in parts) == len(placement.getvalue())
    )
    header = kind(endianness="<")
    header.set_data_dtype(volume.dtype)
    header.set_data_shape(volume.shape[::-1])
    header["pixdim"], header["scl_slope"], header["scl_inter"] = 0, 1, 0
    if kind is Nifti1Header:
        header["regular"] = b"r"
    start = bytearray(header.binaryblock + _NO_EXTENSION)
    header["vox_offset"] = len(start)
    start = bytearray(header.binaryblock + _NO_EXTENSION)
    for part in _PLACEMENT[kind]:
        start[part] = placement.read(part.stop - part.start)
    voxels = np.ascontiguousarray(volume, volume.dtype.newbyteorder("<")).data
    with file.open("wb") as target:
        if not _is_packed(file):
            target.write(start)
            target.write(voxels)
            return
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, target, mtime=0) as archive:
            archive.write(start)
            archive.write(voxels)


def _is_packed(file: Path) -> bool:
    return file.name.lower().endswith(".gz")


def _content(file: Path, limit: int) -> bytes:
    """All of a file, unpacked, its checksums verified."""
    with file.open("rb") as stream:
        if not _is_archive(file, stream):
            return _bounded(stream.read(limit), limit)
        packed = _bounded(stream.read(limit), limit)
    with _archive_faults():
        unpacker = zlib.decompressobj(wbits=_GZIP_WBITS)  # faster than gzip, but for one part only
        content = _bounded(unpacker.decompress(packed, limit), limit)
        if unpacker.eof and not unpacker.unused_data.lstrip(b"\0").startswith(_GZIP):
            return content
        with gzip.open(io.BytesIO(packed)) as archive:
            return _bounded(archive.read(limit), limit)


def _bounded(content: bytes, limit: int) -> bytes:
    if len(content) == limit:
        raise DatasetError(
            f"it goes on for more than {_SURPLUS >> 20} MiB after the last voxel that its header declares; correct the "
            "header, or replace the file"
        )
    return content


def _is_archive(file: Path, stream: BinaryIO) -> bool:
    """Whether the file is one by name and content; the stream is left at its start."""
    start = stream.read(len(_GZIP))
    stream.seek(0)
    return _is_packed(file) and start == _GZIP


@contextmanager
def _archive_faults() -> Iterator[None]:
    try:
        yield
    except EOFError:
        raise DatasetError(_CUT) from None
    except (gzip.BadGzipFile, zlib.error):
        raise DatasetError("its checksum is wrong: it was damaged or cut short; replace it") from None


def _checked_header(file: Path) -> Nifti1Header:
    """The header of a NIfTI-1 or NIfTI-2 file, if it can be right.

    On some headers that cannot, SimpleITK loops for ever or writes beyond its memory; others it settles without a word.

    Raises:
        DatasetError: It is no NIfTI file, or its header contradicts itself, the file's size or the memory.
    """
    with file.open("rb") as stream:
        is_archive = _is_archive(file, stream)
        head = io.BytesIO(stream.read(_HEAD_BYTES))
    with gzip.open(head) if is_archive else head as unpacked, _archive_faults():
        start = unpacked.read(_HEADER2_BYTES)
    header = _parse(start)
    _check_kind(header)
    sizes, first = _sizes(header), float(header["vox_offset"])
    stored = file.stat().st_size
    if not 0 <= first < _LARGEST_OFFSET:
        raise DatasetError(f"its header says that voxels begin at byte {first:g}; correct the header")
    check_size(
        sizes,
        header.get_data_dtype().itemsize,
        stored - (0 if is_archive else int(first)),
        DEFLATED if is_archive else 1,
    )
    _check_scaling(header)
    _check_placement(header, min(len(sizes), 3))
    if isinstance(header, Nifti2Header) and not (_is_plain(header) and header["intent_code"] not in _VECTORS):
        raise DatasetError(
            "it is NIfTI-2, of which colours, vectors, mirrored axes and numbers of more than 64 bits are not read; "
            "save it as NIfTI-1, or its channels along a fourth axis"
        )
    return header


def _parse(start: bytes) -> Nifti1Header:
    """A header as it is, whatever it says."""
    for kind, n_bytes, place, magic in (
        (Nifti1Header, _HEADER_BYTES, 344, b"n+1\0"),
        (Nifti2Header, _HEADER2_BYTES, 4, b"n+2\0\r\n\x1a\n"),
    ):
        if len(start) >= n_bytes and start[place:].startswith(magic):
            for order in "<>":
                if int(np.frombuffer(start, f"{order}i4", 1)[0]) == n_bytes:
                    return kind(start[:n_bytes], endianness=order, check=False)  # type: ignore[no-untyped-call]
    raise DatasetError("it is damaged or no NIfTI file (of one part); replace it, or remove the case")


def _check_kind(header: Nifti1Header) -> None:
    """Refuse numbers of axes and types that cannot be."""
    n_axes = int(header["dim"][0])
    if not 2 <= n_axes <= 7:
        raise DatasetError(f"its header says that it has {n_axes} axes; 2 to 7 are possible: correct dim[0]")
    try:
        header.get_data_dtype()
    except KeyError:
        raise DatasetError(f"its header names the unknown data type {header['datatype']}") from None


def _scaling(header: Nifti1Header) -> tuple[float, float]:
    """Slope and intercept of a header that is sound; 1 and 0 for none."""
    slope, shift = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    return slope, 0.0 if math.isnan(shift) else shift


def _check_scaling(header: Nifti1Header) -> None:
    """Refuse what libraries disagree on, or read from beyond their memory."""
    slope, shift = float(header["scl_slope"]), float(header["scl_inter"])
    is_none = slope == 0 or math.isnan(slope)
    if math.isinf(slope) or math.isinf(shift) or (math.isnan(shift) and not is_none and slope != 1):
        raise DatasetError(
            f"its header holds the slope {slope:g} and the intercept {shift:g}; correct scl_slope, scl_inter"
        )
    if is_none and shift != 0 and not math.isnan(shift):
        raise DatasetError(
            f"its header holds the intercept {shift:g}, but no slope; correct scl_slope "
            "(to 1, if the intercept counts) or scl_inter"
        )
    is_changed = _scaling(header) != (1, 0)
    dtype = header.get_data_dtype()
    is_colour, is_vector = dtype.fields is not None, len(_sizes(header)) > _MOST_AXES
    if (is_colour and (is_changed or header["intent_code"] != 0)) or (
        is_vector and is_changed and dtype.kind != "f"
    ):
        raise DatasetError(
            "its header gives colours or vectors a slope or a meaning; save its channels as numbers, along a "
            "fourth axis"
        )


def _check_placement(header: Nifti1Header, n_axes: int) -> None:
    """Refuse voxel sizes, a qform and an sform that are no numbers or beyond reason."""
    check_position("pixdim", header["pixdim"][: header["dim"][0] + 1].tolist())
    check_spacing(header["pixdim"][1 : 1 + n_axes].tolist())
    if header["qform_code"] > 0:
        names = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
        check_position("qform", [float(header[name]) for name in names])
    if header["sform_code"] > 0:
        check_position("sform", [value for axis in "xyz" for value in header[f"srow_{axis}"].tolist()])


def _sizes(header: Nifti1Header) -> tuple[int, ...]:
    """Voxels along each axis, x first, without last axes of one voxel beyond the third."""
    n_axes, *sizes = header["dim"].tolist()
    while n_axes > 3 and sizes[n_axes - 1] == 1:
        n_axes -= 1
    return tuple(sizes[:n_axes])


def _is_plain(header: Nifti1Header) -> bool:
    """Whether the voxels are one or several images of two or three axes, stored as numbers."""
    dtype, sizes = header.get_data_dtype(), _sizes(header)
    return bool(
        dtype.kind in "uif"
        and 0 < dtype.itemsize <= 8
        and header["intent_code"] != _DISPLACEMENT
        and len(sizes) in {2, 3, 4}
        and header["pixdim"][1 : 1 + min(len(sizes), 3)].min() > 0
        and header["vox_offset"] > len(header.binaryblock)
    )
