"""NIfTI: voxels and headers with nibabel, spacing, origin and direction with SimpleITK.

SimpleITK alone takes missing, NaN and infinite voxels for zeros, ignores most checksums, and changes directions by 1e-8
when it writes (decision 0016).
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from nibabel.nifti1 import Nifti1Header
from numpy.typing import NDArray

from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.images import itk

__all__ = ["read_geometry", "read_voxels", "write"]

_HEADER_BYTES: Final = 348
_FIRST_VOXEL: Final = 352  # after the header: four bytes that say that nothing else is in between
_GZIP: Final = b"\x1f\x8b"
_GZIP_WBITS: Final = zlib.MAX_WBITS | 16  # how zlib is told the format
_GZIP_LEVEL: Final = 6
_CUT: Final = "it ends before its last voxel; replace it, or remove the case"
_DISPLACEMENT: Final = 1006  # intent code: vectors of a deformation
#: The bytes of a header that `Geometry.nifti_placement` holds: pixdim of x, y, z; xyzt_units; qform and sform.
_PLACEMENT: Final = (slice(76, 92), slice(123, 124), slice(252, 328))


def read_voxels(file: Path) -> NDArray[Any]:
    """Read voxels, (c, z, y, x) of the file's own type.

    SimpleITK reads what is not plain numbers behind a NIfTI-1 header: scaled values, vectors, colours, mirrored axes,
    NIfTI-2.

    Raises:
        ValueError: The file cannot be read.
        DatasetError: It is damaged or was cut short, or a plain file lies beside the archive.
    """
    if _is_packed(file) and (plain := file.with_name(file.name[:-3])).exists():
        raise DatasetError(
            f"{plain.name} lies beside it, and NIfTI libraries would take the voxels from there; move one away"
        )
    content = _content(file)
    header = _parse(content)
    if header is None:  # NIfTI-2, or no NIfTI at all: SimpleITK reads it, or says what is wrong
        return itk.read_voxels(file)
    dtype, sizes, start = _dtype(header), _sizes(header), int(header["vox_offset"])
    n_bits = 8 * dtype.itemsize or int(header["bitpix"])
    if len(content) < start + math.prod(sizes) * n_bits // 8:
        raise DatasetError(_CUT)
    if not _is_plain(header, dtype, sizes):
        return itk.read_voxels(file)
    array = np.frombuffer(content, dtype, math.prod(sizes), start).reshape(sizes[::-1])
    return array[(None,) * (4 - array.ndim)]


def read_geometry(file: Path) -> Geometry:
    """Read where an image lies, without its voxels.

    Raises:
        ValueError: The file cannot be read.
        DatasetError: It has another number of axes.
    """
    geometry = itk.read_geometry(file)
    with file.open("rb") as stream:
        is_archive = stream.read(len(_GZIP)) == _GZIP
        stream.seek(0)
        with gzip.open(stream) if is_archive else stream as unpacked:
            header = _parse(unpacked.read(_HEADER_BYTES))
    if header is None:
        return geometry
    block = header.as_byteswapped("<").binaryblock
    placement = b"".join(block[part] for part in _PLACEMENT).hex()
    return geometry.model_copy(update={"nifti_placement": placement})


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
    header = Nifti1Header(endianness="<")
    header.set_data_dtype(volume.dtype)
    header.set_data_shape(volume.shape[::-1])
    header["pixdim"], header["regular"], header["magic"] = 0, b"r", b"n+1"
    header["vox_offset"], header["scl_slope"], header["scl_inter"] = _FIRST_VOXEL, 1, 0
    start = bytearray(header.binaryblock.ljust(_FIRST_VOXEL, b"\0"))
    with io.BytesIO(bytes.fromhex(geometry.nifti_placement)) as placement:
        for part in _PLACEMENT:
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


def _content(file: Path) -> bytes:
    """All of a file, unpacked, its checksums verified."""
    packed = file.read_bytes()
    if not (_is_packed(file) and packed.startswith(_GZIP)):
        return packed
    try:
        unpacker = zlib.decompressobj(wbits=_GZIP_WBITS)  # faster than gzip, but for one part only
        content = unpacker.decompress(packed)
        if unpacker.eof and not unpacker.unused_data.lstrip(b"\0").startswith(_GZIP):
            return content
        with gzip.open(io.BytesIO(packed)) as stream:
            return stream.read()
    except EOFError:
        raise DatasetError(_CUT) from None
    except (gzip.BadGzipFile, zlib.error):
        raise DatasetError("its checksum is wrong: it was damaged or cut short; replace it") from None


def _parse(content: bytes) -> Nifti1Header | None:
    """The header of a NIfTI-1 file, or None."""
    if len(content) < _HEADER_BYTES:
        return None
    header = Nifti1Header(content[:_HEADER_BYTES], check=False)
    sizes_are_right = header["sizeof_hdr"] == _HEADER_BYTES and 0 < header["dim"][0] < 8
    return header if sizes_are_right and np.isfinite(header["vox_offset"]) else None


def _sizes(header: Nifti1Header) -> tuple[int, ...]:
    """Voxels along each axis, x first, without last axes of one voxel beyond the third."""
    n_axes, *sizes = header["dim"].tolist()
    while n_axes > 3 and sizes[n_axes - 1] == 1:
        n_axes -= 1
    return tuple(sizes[:n_axes])


def _dtype(header: Nifti1Header) -> np.dtype[Any]:
    """The type of the voxels, with their byte order; void if the header's code is unknown."""
    try:
        return header.get_data_dtype()
    except KeyError:
        return np.dtype(np.void)


def _is_plain(header: Nifti1Header, dtype: np.dtype[Any], sizes: tuple[int, ...]) -> bool:
    """Whether the voxels are one or several images of two or three axes, stored as the numbers that they are."""
    return bool(
        dtype.kind in "uif"
        and 0 < dtype.itemsize <= 8
        and header["magic"] == b"n+1"
        and float(header["scl_slope"]) in {0, 1}
        and header["scl_inter"] == 0
        and header["intent_code"] != _DISPLACEMENT
        and len(sizes) in {2, 3, 4}
        and min(sizes) > 0
        and header["pixdim"][1 : 1 + min(len(sizes), 3)].min() > 0
        and header["vox_offset"] > _HEADER_BYTES
    )
