"""One image file to an array and where it lies, whatever the format. Source: method.md section 3."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import SimpleITK as sitk
from numpy.typing import NDArray

from segflow.contracts.case import Geometry
from segflow.images import nifti
from segflow.images.formats import (
    ENDINGS,
    FLAT_SPACING,
    LOSSY_ENDINGS,
    TIFF_ENDINGS,
    WITHOUT_SPACING,
    ending_of,
    read_side_file,
    side_file,
)
from segflow.images.hush import hushed
from segflow.images.tiff import read_tiff, survey

__all__ = [
    "ITK_FORMATS",
    "Decoded",
    "UnreadableError",
    "decode",
    "decode_geometry",
    "decode_voxels",
]

#: SimpleITK's name of each format: a file is what its ending says, or an error.
ITK_FORMATS = {
    ".nii": "NiftiImageIO",
    ".nii.gz": "NiftiImageIO",
    ".nrrd": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
    ".gipl": "GiplImageIO",
    ".png": "PNGImageIO",
    ".bmp": "BMPImageIO",
    ".tif": "TIFFImageIO",
    ".tiff": "TIFFImageIO",
}

_PICTURES = (".bmp", *LOSSY_ENDINGS)  # SimpleITK gives grey BMP as colours, and cut files as whole
_GIPL_HEADER_BYTES = 256
_EMPTY_REASONS = ("Reason:", "Logic error")  # what libraries say when they do not know
_NOT_A_ROTATION = ("orthonormal", "determinant")


class UnreadableError(Exception):
    """Why a file cannot be read, and what to do."""


@dataclass(frozen=True)
class Decoded:
    """A file's content.

    Attributes:
        array: (c, z, y, x), of the file's own type; read-only, and valid while this object lives.
        geometry: Where it lies.
        spacing_known: False if the file does not say, so that the spacing is a convention.
        owner: The library's image, whose memory the array is.
    """

    array: NDArray[Any]
    geometry: Geometry
    spacing_known: bool
    owner: object = None


def decode(file: Path) -> Decoded:
    """Read a file.

    Args:
        file: Of any of the formats.

    Raises:
        UnreadableError: It cannot be read, or not without doubt.

    Source: method.md section 3.
    """
    try:
        array, geometry, owner = _pixels(file)
    except (ValueError, OSError, SyntaxError, EOFError, struct.error) as problem:
        raise UnreadableError(_advice(file, str(problem))) from None
    if 0 in array.shape:
        raise UnreadableError("it has no voxels; replace it, or remove the case")
    if np.iscomplexobj(array):
        raise UnreadableError("it holds complex numbers; save real and imaginary part as channels")
    try:
        geometry, known = _with_spacing(file, array.shape[1:], geometry)
    except ValueError as problem:
        raise UnreadableError(str(problem)) from None
    return Decoded(array, geometry, known, owner)


def decode_voxels(file: Path) -> NDArray[Any]:
    """Read a file's voxels and not where they lie, which is faster for NIfTI.

    Args:
        file: Of any of the formats.

    Returns:
        (c, z, y, x), of the file's own type.

    Raises:
        UnreadableError: It cannot be read, or not without doubt.

    Source: method.md section 3.
    """
    try:
        voxels = _nifti(file) if ending_of(file) in nifti.NIFTI_ENDINGS else None
    except (ValueError, OSError) as problem:
        raise UnreadableError(_advice(file, str(problem))) from None
    if voxels is not None:
        return voxels
    found = decode(file)  # owns the array
    return found.array.copy()


def decode_geometry(file: Path) -> Geometry:
    """Where a file's image lies; voxels are not read where the format allows it.

    Args:
        file: Of any of the formats.

    Raises:
        UnreadableError: It cannot be read.

    Source: method.md section 3.
    """
    ending = ending_of(file)
    if ending in WITHOUT_SPACING and ending not in TIFF_ENDINGS:
        return decode(file).geometry
    try:
        return (
            _with_spacing(file, survey(file).shape, None)[0]
            if ending in TIFF_ENDINGS
            else _itk_geometry(file)
        )
    except (ValueError, OSError) as problem:
        raise UnreadableError(_advice(file, str(problem))) from None


def _pixels(file: Path) -> tuple[NDArray[Any], Geometry | None, object]:
    """Voxels (c, z, y, x), the geometry of formats that have one, and the array's owner."""
    ending = ending_of(file)
    if ending in _PICTURES or (ending == ".png" and _is_mask(file)):
        return _picture(file), None, None
    if ending in TIFF_ENDINGS:
        pages = survey(file)
        return _itk(file) if pages.simple else (read_tiff(file, pages), None, None)
    if ending in nifti.NIFTI_ENDINGS:
        voxels = _nifti(file)
        if voxels is not None:
            geometry = _itk_geometry(file)
            return voxels.reshape(-1, *geometry.shape), geometry, None
        problem = nifti.complain(file) if file.exists() else None
        if problem is not None:
            raise ValueError(problem)
    array, geometry, owner = _itk(file)
    if ending == ".gipl" and file.stat().st_size < _GIPL_HEADER_BYTES + array.nbytes:
        raise ValueError("it ends before its last voxel")
    return array, geometry, owner


def _nifti(file: Path) -> NDArray[Any] | None:
    """Voxels (c, z, y, x) of an ordinary file."""
    voxels = nifti.voxels(file)
    return None if voxels is None else voxels[(None,) * (4 - voxels.ndim)]


def _itk(file: Path) -> tuple[NDArray[Any], Geometry, object]:
    """Voxels as (c, z, y, x), what the file says of geometry, and SimpleITK's image, whose memory the voxels are."""
    image = _execute(file, voxels=True)
    array = sitk.GetArrayViewFromImage(image)
    vector = image.GetNumberOfComponentsPerPixel() > 1
    _check_axes(image.GetDimension(), vector=vector)
    if image.GetDimension() < 4 or vector:
        array = np.moveaxis(array, -1, 0) if vector else array[None]
        if image.GetDimension() == 2:
            array = array[:, None]
    return array, _geometry(file, image, array.shape[1:]), image


def _itk_geometry(file: Path) -> Geometry:
    header = _execute(file, voxels=False)
    _check_axes(header.GetDimension(), vector=header.GetNumberOfComponents() > 1)
    sizes = [*header.GetSize()[:3], 1][:3]
    return _geometry(file, header, sizes[::-1])


def _execute(file: Path, *, voxels: bool) -> Any:
    """An image, or a reader that knows its header only; the two answer the same questions."""
    if ending_of(file) not in ITK_FORMATS:
        raise ValueError(f"its ending is none of {', '.join(ENDINGS)}")
    if not file.exists():
        raise ValueError("it does not exist")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.SetImageIO(ITK_FORMATS[ending_of(file)])
    fault = ""
    image: Any = reader
    with hushed() as said:
        try:
            image = reader.Execute() if voxels else reader.ReadImageInformation() or reader
        except (RuntimeError, ValueError) as problem:  # a message that is no text is a ValueError
            fault = str(problem)
    if fault:
        raise ValueError(_reason(fault, said))
    return image


def _reason(fault: str, said: Sequence[str]) -> str:
    """The line that says most: the exception's last one, or what was printed if that one is empty talk."""
    last = fault.strip().splitlines()[-1].strip()
    if said and any(word in last for word in _EMPTY_REASONS):
        return said[0]
    return last.removeprefix("ITK ERROR: ").removeprefix("sitk::ERROR: ")


def _advice(file: Path, reason: str) -> str:
    if any(word in reason for word in _NOT_A_ROTATION):
        return (
            f"{reason} The axes in its header (of NIfTI: sform, qform) are no rotation: resample it to perpendicular "
            "axes, or correct the header"
        )
    ending = ending_of(file) or "image"
    return (
        f"{reason}. Unless this says more: it is damaged or no {ending} file; replace it, or remove the case"
    )


def _check_axes(dimensions: int, *, vector: bool) -> None:
    if dimensions not in {2, 3} and (dimensions != 4 or vector):
        raise ValueError(f"it has {dimensions} axes; 2 or 3 are possible, and a fourth for channels")


def _picture(file: Path) -> NDArray[Any]:
    """Voxels of a format that Pillow reads better."""
    PIL.Image.MAX_IMAGE_PIXELS = None  # the user's own pictures, large as they may be
    with PIL.Image.open(
        file, formats=[{".bmp": "BMP", ".png": "PNG"}.get(ending_of(file), "JPEG")]
    ) as picture:
        array = np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)
    array = array.astype(np.uint8) if array.dtype == np.bool_ else array
    return np.moveaxis(array, -1, 0)[:, None] if array.ndim == 3 else array[None, None]


def _is_mask(file: Path) -> bool:
    """True for a grey PNG of one bit, which SimpleITK stretches to 0 and 255."""
    if not file.exists():
        return False
    with file.open("rb") as stream:
        return stream.read(26)[24:] == b"\x01\x00"


def _geometry(file: Path, image: Any, shape: Sequence[int]) -> Geometry:
    full = image.GetDimension()
    dimensions = min(full, 3)
    spacing = tuple(abs(value) for value in image.GetSpacing()[:dimensions])
    direction = np.reshape(image.GetDirection(), (full, full))[:dimensions, :dimensions]
    x_mm, y_mm, *rest = spacing
    z, y, x = shape
    return Geometry(
        shape=(z, y, x),
        spacing_mm=(rest[0] if rest else FLAT_SPACING * max(spacing), y_mm, x_mm),
        file_dimensions=dimensions,
        file_spacing_mm=spacing,
        origin_mm=tuple(image.GetOrigin()[:dimensions]),
        direction=tuple(direction.ravel().tolist()),
        nifti_placement=nifti.placement(file) if ending_of(file) in nifti.NIFTI_ENDINGS else "",
    )


def _with_spacing(file: Path, shape: tuple[int, ...], geometry: Geometry | None) -> tuple[Geometry, bool]:
    """The geometry, and whether the file says it: pictures and TIFF have that of the side file, or none.

    Their tags are for printing, and are left alone.

    """
    if geometry is not None and ending_of(file) not in WITHOUT_SPACING:
        return geometry, True
    side = side_file(file)
    z, y, x = shape
    flat = z == 1
    spacing = (FLAT_SPACING if flat else 1.0, 1.0, 1.0) if side is None else read_side_file(side)
    dimensions = 2 if flat else 3
    plain = Geometry(
        shape=(z, y, x),
        spacing_mm=spacing,
        file_dimensions=dimensions,
        file_spacing_mm=spacing[::-1][:dimensions],
        origin_mm=(0.0,) * dimensions,
        direction=tuple(np.eye(dimensions).ravel().tolist()),
    )
    return plain, side is not None
