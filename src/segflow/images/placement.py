"""Where a NIfTI image lies: what SimpleITK makes of a header's qform and sform, and what its user should know.

The arithmetic is that of ITK 5.4 (`NiftiImageIO`) and of the NIfTI library, in their precision, so that numbers are the
same to the last bit. The choice between qform and sform is theirs too; where it hangs on rounding errors of their
singular value decomposition, there is no answer here (docs/reference/datasets.md; decision 0020).
"""

from __future__ import annotations

import itertools
import math
from typing import Any, Final

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.images.formats import file_geometry

__all__ = ["placed", "remarks"]

_MM: Final = {1: 1e3, 3: 1e-3}  # metres and micrometres, by code; everything else means millimetres
_SCANNER: Final = 1  # code of an sform in the scanner's space
_SHEAR: Final = 1e-4  # beyond it ITK does not use an sform
_ROUNDING_SHEAR: Final = 2e-4
_SAME: Final = 1e-5, 1e-7  # ITK's tolerance of axes and of origins
_CLOSE: Final = 1.1e-4  # somewhat more than ITK's tolerance of what it calls very similar
_UNSURE: Final = 2e-6  # of the shear
_FAR_MM: Final = 1e5  # an origin for which ITK's inversion loses digits
_LENGTH_MM: Final = 1e-3  # ITK's tolerance of an sform's voxel size
_MOVED: Final = 0.1  # voxels

_Matrix = NDArray[np.floating[Any]]


def placed(header: Nifti1Header, sizes: tuple[int, ...]) -> Geometry | None:
    """The geometry that SimpleITK reads; None where only SimpleITK can tell.

    Args:
        header: Sound; voxel sizes are positive.
        sizes: Voxels, x first.

    Raises:
        DatasetError: The axes are sheared, and there is no qform.
    """
    dims = min(len(sizes), 3)
    unit = _MM.get(int(header["xyzt_units"]) & 7, 1.0)
    spacing = tuple(mm * unit for mm in header["pixdim"][1 : 1 + dims].tolist())
    origin, axes = (0.0,) * dims, np.eye(dims)
    if _is_set(header, "qform") or _is_set(header, "sform"):
        matrix = _matrix_that_counts(header)
        if matrix is None:
            return None
        turned = matrix[:dims].astype(np.float64)
        turned[:2] *= -1.0  # NIfTI's x and y point the other way
        origin = tuple((turned[:, 3] * unit).tolist())
        axes = np.stack([_unit_vector(axis) for axis in turned[:, :dims].T.tolist()], axis=1)
    return file_geometry(sizes, spacing, origin, axes.ravel().tolist())


def remarks(header: Nifti1Header, sizes: tuple[int, ...]) -> tuple[str, ...]:
    """Contradictions of a header that are settled, each with its size."""
    if not _is_set(header, "sform"):
        return ()
    sform, has_qform, found = _sform(header), _is_set(header, "qform"), list[str]()
    shear = _shear(sform)
    if shear > _SHEAR:
        taken = "its qform counts" if has_qform else "that is taken for rounding"
        found.append(f"the axes of its sform are sheared by {shear:.1e}; {taken}")
    dims = min(len(sizes), 3)
    pixdim, lengths = header["pixdim"][1 : 1 + dims], np.linalg.norm(sform[:, :dims].astype(float), axis=0)
    if np.abs(np.abs(pixdim) - lengths).max() > _LENGTH_MM:
        found.append(
            f"its pixdim says that voxels measure {_sizes(pixdim)}, and its sform {_sizes(lengths)}: pixdim counts"
        )
    if has_qform and header["qform_code"] == header["sform_code"]:
        corner = [size - 1 for size in (*sizes[:3], 1)[:3]]
        corners = np.array([*itertools.product(*([0, last] for last in corner), [1])])
        moved = np.linalg.norm(corners @ (_qform(header).astype(float) - sform).T, axis=1).max()
        if moved > _MOVED * np.abs(pixdim).min():
            found.append(
                f"its qform and its sform, both of code {header['sform_code']}, place it up to {moved:.3g} mm apart; "
                "label maps get both as they are"
            )
    return tuple(found)


def _is_set(header: Nifti1Header, form: str) -> bool:
    return bool(header[f"{form}_code"] > 0)


def _matrix_that_counts(header: Nifti1Header) -> _Matrix | None:
    """Three rows of the matrix from voxels to millimetres."""
    sform = _sform(header)
    if not _is_set(header, "sform"):
        return _qform(header)
    shear, qform = _shear(sform), _qform(header)
    is_itk_unsure = abs(shear - _SHEAR) < _UNSURE or np.abs(sform[:, 3]).max() > _FAR_MM
    if is_itk_unsure and not isinstance(header, Nifti2Header):  # which ITK does not read
        return None
    if not _is_set(header, "qform"):
        _check_shear(shear)
        return sform
    if shear > _SHEAR:
        return sform if _are_same(qform, sform) else qform
    takes_sform = header["sform_code"] == _SCANNER or np.array_equal(qform, sform)
    if not takes_sform and _may_be_similar(qform, sform):
        return sform if isinstance(header, Nifti2Header) else None
    return sform if takes_sform else qform


def _qform(header: Nifti1Header) -> _Matrix:
    """A rotation, from its quaternion, times the voxel size, as the NIfTI library computes it: products in long double.

    Without a qform, the voxel size.
    """
    kind, two = header["pixdim"].dtype.newbyteorder("="), np.longdouble(2)
    if not _is_set(header, "qform"):
        return np.eye(3, 4, dtype=kind) * [*header["pixdim"][1:4], 0]
    b, c, d = (float(header[f"quatern_{name}"]) for name in "bcd")
    square = b * b + c * c + d * d
    rest = float(1 - np.longdouble(square))
    a = math.sqrt(max(rest, 0.0))
    if rest < 1e-7:
        a, length = 0.0, float(1 / np.longdouble(math.sqrt(square)))
        b, c, d = b * length, c * length, d * length
    x, y, z = (mm if mm > 0 else 1.0 for mm in header["pixdim"][1:4].tolist())
    z = -z if header["pixdim"][0] < 0 else z
    rows: list[list[Any]] = [
        [(a * a + b * b - c * c - d * d) * x, two * (b * c - a * d) * y, two * (b * d + a * c) * z],
        [two * (b * c + a * d) * x, (a * a + c * c - b * b - d * d) * y, two * (c * d - a * b) * z],
        [two * (b * d - a * c) * x, two * (c * d + a * b) * y, (a * a + d * d - c * c - b * b) * z],
    ]
    shift = [header[f"qoffset_{name}"] for name in "xyz"]
    return np.array([[*map(kind.type, row), mm] for row, mm in zip(rows, shift, strict=True)], kind)


def _sform(header: Nifti1Header) -> _Matrix:
    return np.stack([header[f"srow_{name}"] for name in "xyz"]).astype(
        header["srow_x"].dtype.newbyteorder("=")
    )


def _unit_axes(matrix: _Matrix) -> NDArray[np.float64]:
    axes = matrix[:, :3].astype(np.float64)
    lengths = np.linalg.norm(axes, axis=0)
    return axes / np.where(lengths == 0, 1, lengths)


def _unit_vector(axis: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in axis))
    return [value / length for value in axis] if length else axis


def _shear(matrix: _Matrix) -> float:
    """How far the product of the unit axes with their transpose is from the identity: 0 if they are perpendicular."""
    axes = _unit_axes(matrix)
    return float(np.abs(axes @ axes.T - np.eye(3)).max())


def _check_shear(shear: float) -> None:
    if shear > _ROUNDING_SHEAR:
        raise DatasetError(
            f"the axes of its sform are no rotation, they are sheared by {shear:.1e} (up to {_ROUNDING_SHEAR:g} is "
            "rounding), and it has no qform: resample it to perpendicular axes, or correct the header"
        )


def _are_same(one: _Matrix, two: _Matrix) -> bool:
    difference = np.abs(one.astype(np.float64) - two)
    return bool(difference[:, :3].max() <= _SAME[0] and difference[:, 3].sum() <= _SAME[1])


def _may_be_similar(one: _Matrix, two: _Matrix) -> bool:
    """Whether voxel sizes and origins are; ITK compares axes in a way that takes some mirrored ones for the same."""
    lengths = [np.sort(np.linalg.norm(matrix[:, :3].astype(np.float64), axis=0)) for matrix in (one, two)]
    moved = np.abs(one[:, 3].astype(np.float64) - two[:, 3])
    return bool(np.abs(lengths[0] - lengths[1]).max() <= _CLOSE and moved.max() <= _CLOSE)


def _sizes(values: NDArray[Any]) -> str:
    return " x ".join(f"{abs(value):g}" for value in values.tolist()) + " mm"
