"""NIfTI: voxels and headers with nibabel, spacing, origin and direction with SimpleITK.

SimpleITK alone takes missing, NaN and infinite voxels for zeros, ignores most checksums, and changes directions by 1e-8
when it writes (decision 0016).
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.images import itk

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

__all__ = ["read", "read_geometry", "write"]

_HEADER_BYTES: Final = 348
_FIRST_VOXEL: Final = 352  # after the header: four bytes that say that nothing else is in between
_GZIP: Final = b"\x1f\x8b"
_GZIP_WBITS: Final = zlib.MAX_WBITS | 16  # how zlib is told the format
_GZIP_LEVEL: Final = 6
_CUT: Final = "it ends before its last voxel; replace it, or remove the case"
_DISPLACEMENT: Final = 1006  # intent code: vectors of a deformation
#: The fields that say where an image lies, beside pixdim, and their types.
_PLACEMENT_FIELDS: Final = {
    "xyzt_units": "u1",
    "qform_code": "<i2",
    "sform_code": "<i2",
    **dict.fromkeys(("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"), "<f4"),
    **dict.fromkeys(("srow_x", "srow_y", "srow_z"), "<4f4"),
}
#: What `Geometry.nifti_placement` holds, in hexadecimal; of pixdim, the part of space.
_PLACEMENT: Final = np.dtype([("pixdim", "<4f4"), *_PLACEMENT_FIELDS.items()])


def read(file: Path) -> tuple[NDArray[Any], Callable[[], Geometry]]:
    """Read voxels, (c, z, y, x) of the file's own type, and a function that reads the geometry.

    SimpleITK reads what is not plain numbers behind a NIfTI-1 header: scaled values, vectors, colours, mirrored axes,
    NIfTI-2.

    Raises:
        ValueError: The file cannot be read.
        DatasetError: It is damaged or was cut short, or a plain file lies beside the archive.
    """
    if file.name.lower().endswith(".gz") and (plain := file.with_name(file.name[:-3])).exists():
        raise DatasetError(
            f"{plain.name} lies beside it, and NIfTI libraries would take the voxels from there; move one away"
        )
    content = _content(file)
    header = _parse(content)
    if header is None:  # NIfTI-2, or no NIfTI at all: SimpleITK reads it, or says what is wrong
        return itk.read(file)
    dtype, sizes, start = _dtype(header), _sizes(header), int(header["vox_offset"])
    n_bits = 8 * dtype.itemsize or int(header["bitpix"])
    if len(content) < start + math.prod(sizes) * n_bits // 8:
        raise DatasetError(_CUT)
    if _is_plain(header, dtype, sizes):
        array = np.frombuffer(content, dtype, math.prod(sizes), start).reshape(sizes[::-1])
        return array[(None,) * (4 - array.ndim)], lambda: _placed(itk.read_geometry(file), header)
    array, locate = itk.read(file)
    return array, lambda: _placed(locate(), header)


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
    return geometry if header is None else _placed(geometry, header)


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
    from nibabel.nifti1 import Nifti1Header  # noqa: PLC0415  0.1 s that most processes do without

    header = Nifti1Header(endianness="<")
    header.set_data_dtype(volume.dtype)
    header.set_data_shape(volume.shape[::-1])
    placement = np.frombuffer(bytes.fromhex(geometry.nifti_placement), _PLACEMENT)[0]
    header["pixdim"] = 0
    header["pixdim"][:4] = placement["pixdim"]
    for name in _PLACEMENT_FIELDS:
        header[name] = placement[name]
    header["regular"], header["magic"] = b"r", b"n+1"
    header["vox_offset"], header["scl_slope"], header["scl_inter"] = _FIRST_VOXEL, 1, 0
    start = header.binaryblock.ljust(_FIRST_VOXEL, b"\0")
    voxels = np.ascontiguousarray(volume, volume.dtype.newbyteorder("<")).data
    with file.open("wb") as target:
        if not file.name.lower().endswith(".gz"):
            target.write(start)
            target.write(voxels)
            return
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, target, mtime=0) as archive:
            archive.write(start)
            archive.write(voxels)


def _content(file: Path) -> bytes:
    """All of a file, unpacked, its checksums verified."""
    packed = file.read_bytes()
    if not (file.name.lower().endswith(".gz") and packed.startswith(_GZIP)):
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
    from nibabel.nifti1 import Nifti1Header  # noqa: PLC0415  0.1 s that most processes do without

    order = {b"\x5c\x01\0\0": "<", b"\0\0\x01\x5c": ">"}.get(content[:4])
    if order is None or len(content) < _HEADER_BYTES:
        return None
    header = Nifti1Header(content[:_HEADER_BYTES], endianness=order, check=False)
    is_sound = 0 < header["dim"][0] < 8 and np.isfinite(header["vox_offset"])
    return header if is_sound else None


def _sizes(header: Nifti1Header) -> tuple[int, ...]:
    """Voxels along each axis, x first, without last axes of one voxel beyond the third."""
    n_axes, *sizes = header["dim"].tolist()
    while n_axes > 3 and sizes[n_axes - 1] == 1:
        n_axes -= 1
    return tuple(sizes[:n_axes])


def _dtype(header: Nifti1Header) -> np.dtype[Any]:
    """Of the voxels, with their byte order; void if the header's code is unknown."""
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


def _placed(geometry: Geometry, header: Nifti1Header) -> Geometry:
    placement = np.zeros((), _PLACEMENT)
    placement["pixdim"] = header["pixdim"][:4]
    for name in _PLACEMENT_FIELDS:
        placement[name] = header[name]
    return geometry.model_copy(update={"nifti_placement": placement.tobytes().hex()})
