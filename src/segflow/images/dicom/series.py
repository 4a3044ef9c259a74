"""Images of DICOM series: voxels, and where they lie by the tags of their slices.

Slices are stacked along the normal of their rows and columns, as ITK does it, whatever their numbers. Those of a tilted
gantry are resampled to perpendicular axes, since neither ITK nor a network knows others.

Source: DICOM PS3.3 section C.7.6.2 (Image Plane Module).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.images.dicom.files import (
    DIFFERING,
    Header,
    dicom_libraries,
    header_of,
    is_multiframe,
    naming,
    slices_of,
)
from segflow.images.formats import file_geometry
from segflow.images.itk import image_of
from segflow.processes.memory import check_memory

__all__ = ["read_geometry", "read_voxels"]

_SAME_DIRECTION: Final = 1e-3
_SAME_PLACE: Final = 0.01  # of the distance of slices
_UNEVEN: Final = 0.1  # of the distance of slices
_SHIFTED: Final = 0.1  # of a pixel
_EXACT: Final = 1e-6
_BYTES: Final = 12  # of a voxel while it is read: as stored, scaled, in float32

_VECTORS: Final = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")

_Vector = NDArray[np.float64]


@dataclass(frozen=True)
class _Slice:
    position: _Vector
    rows_and_columns: _Vector
    pixel_mm: _Vector
    name: str
    header: Header


def read_geometry(file: Path) -> Geometry:
    """Where the image of the series lies that a file stands for; voxels are not read.

    Raises:
        DatasetError: A file cannot be read, or the slices make no volume: some are missing, twice there, or not
            parallel.
    """
    return _grids(file)[1]


def read_voxels(file: Path) -> NDArray[np.float32]:
    """The voxels of the series that a file stands for, (1, z, y, x), each slice with its rescale slope and intercept.

    Raises:
        DatasetError: As of `read_geometry`, or the voxels cannot be decoded, or are colours.
    """
    stored, wanted = _grids(file)
    _, highdicom = dicom_libraries()
    sizes = stored.shape[::-1]
    check_memory(math.prod(sizes) * _BYTES, f"its series has {' x '.join(map(str, sizes))} voxels")
    options = {
        "dtype": np.float32,
        "apply_real_world_transform": False,  # what other converters do not apply either
        "apply_presentation_lut": False,
        "rtol": _UNEVEN,
        "perpendicular_tol": 2.0,  # any: it is known that the slices make a volume
    }
    with naming(file), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's, of details such as padding
        if is_multiframe(header_of(file)):
            volume = highdicom.imread(file).get_volume(**options)
        else:
            datasets = [_decoded(one) for one in slices_of(file)]
            volume = highdicom.get_volume_from_series(datasets, orientation_tol=_SAME_DIRECTION, **options)
        array = np.ascontiguousarray(volume.array[::-1])  # highdicom stacks them the other way round
    return (array if wanted == stored else _resampled(array, stored, wanted))[None]


def _decoded(file: Path) -> Any:
    pydicom, _ = dicom_libraries()
    with naming(file):
        dataset = pydicom.dcmread(file)
        _ = dataset.pixel_array  # is kept
        return dataset


def _grids(file: Path) -> tuple[Geometry, Geometry]:
    """Where the slices are, and the perpendicular grid that is read: the same unless the slices are tilted."""
    header = header_of(file)
    with naming(file):
        if is_multiframe(header):
            images = list(_frames(header))
        else:
            images = [(one.name, tags) for one, tags in slices_of(file).items()]
        slices = [_slice(*image) for image in images]
        thickness = float(slices[0].header.get("SliceThickness") or 1.0)
        size = (int(header.Columns), int(header.Rows), len(slices))
        if int(header.get("SamplesPerPixel") or 1) != 1:
            raise DatasetError("it is a colour image; only images of one value per voxel are read")
    return _stacked(_sorted(slices), size, thickness)


def _slice(name: str, header: Header) -> _Slice:
    """A slice by the tags of its file or frame."""
    lacking = next((tag for tag in _VECTORS if not header.get(tag)), None)
    if lacking:
        raise DatasetError(f"its {name} has no {lacking}; only CT, MR, PET and the like are read")
    position, axes, pixel_mm = (np.array(header[tag].value, float) for tag in _VECTORS)
    return _Slice(position, axes, pixel_mm, name, header)


def _frames(header: Header) -> Iterator[tuple[str, Header]]:
    """Names and tags of a multi-frame file's images; what all frames share is stored once."""
    pydicom, _ = dicom_libraries()
    shared = (header.get("SharedFunctionalGroupsSequence") or [{}])[0]
    for number, frame in enumerate(header.PerFrameFunctionalGroupsSequence, start=1):
        tags = pydicom.Dataset()
        for group in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"):
            tags.update((frame.get(group) or shared.get(group) or [{}])[0])
        yield f"frame {number}", tags


def _sorted(slices: Sequence[_Slice]) -> list[_Slice]:
    """Along their normal; parallel, equally sized, no two at one place, and none missing."""
    first = slices[0]
    for one in slices:
        if not np.allclose(one.rows_and_columns, first.rows_and_columns, rtol=0, atol=_SAME_DIRECTION):
            raise DatasetError(
                f"its series is no volume: {first.name} and {one.name} are not parallel; remove the localiser"
                "'s images, or choose another series"
            )
        size, same = ((two.header.get("Rows"), two.header.get("Columns")) for two in (one, first))
        if size != same or not np.allclose(one.pixel_mm, first.pixel_mm, rtol=1e-3, atol=0):
            raise DatasetError(
                f"its series is no volume: {first.name} and {one.name} have pixels of another size or number; choose "
                "another series"
            )
    normal = np.cross(first.rows_and_columns[:3], first.rows_and_columns[3:])
    heights = np.array([one.position @ normal for one in slices])
    order = np.argsort(heights, kind="stable")
    found = [slices[i] for i in order]
    _check_distances(found, np.diff(heights[order]))
    return found


def _check_distances(slices: Sequence[_Slice], steps: _Vector) -> None:
    usual = float(np.median(steps[steps > _EXACT])) if (steps > _EXACT).any() else 0.0
    twice = np.flatnonzero(steps <= _SAME_PLACE * usual)
    if len(twice):
        one, two = slices[twice[0]], slices[twice[0] + 1]
        raise DatasetError(
            f"its series holds several images at the same place, such as {one.name} and {two.name}"
            f"{_difference(one.header, two.header)}; keep the slices of one time point, echo or copy"
        )
    uneven = np.flatnonzero(np.abs(steps - usual) > _UNEVEN * usual)
    if len(uneven):
        step = steps[uneven[0]]
        missing = round(step / usual) - 1
        said = f"{missing} missing" if missing > 0 and abs(step / usual - 1 - missing) < _UNEVEN else "uneven"
        raise DatasetError(
            f"its series has slices {usual:.4g} mm apart, but {step:.4g} mm lie between "
            f"{slices[uneven[0]].name} and {slices[uneven[0] + 1].name} ({said}); add what is missing, or choose "
            "another series"
        )


def _difference(one: Header, two: Header) -> str:
    """What tells two images apart."""
    for tag in DIFFERING:
        if tag in one and tag in two and one[tag].value != two[tag].value:
            return f" ({tag} {one[tag].value} and {two[tag].value})"
    return ""


def _stacked(
    slices: Sequence[_Slice], size: tuple[int, int, int], thickness: float
) -> tuple[Geometry, Geometry]:
    first, last, n = slices[0], slices[-1], len(slices)
    axes = _axes(first.rows_and_columns)
    pixel_mm = first.pixel_mm[::-1]  # of the file: between rows, which is along y, first
    step = (last.position - first.position) / (n - 1) if n > 1 else axes[:, 2] * thickness
    height = round(float(step @ axes[:, 2]), 6)  # differences of decimal numbers
    drift = axes[:, :2].T @ step  # along x and y
    places = np.stack([one.position for one in slices]) - first.position
    bent = np.abs((places - np.arange(n)[:, None] * step) @ axes[:, :2]).max(axis=0)
    if (bent > 0.5 * pixel_mm).any():
        raise DatasetError(
            f"the slices of its series are shifted against each other by {bent.max():.3g} mm, not along a "
            "line; resample it with another program"
        )
    x_mm, y_mm = pixel_mm.tolist()
    stored = file_geometry(size, (x_mm, y_mm, height), first.position.tolist(), axes.ravel().tolist())
    moved = drift * (n - 1) / pixel_mm
    if (np.abs(moved) <= _SHIFTED).all():
        return stored, stored
    origin = first.position + axes[:, :2] @ (np.floor(np.minimum(moved, 0)) * pixel_mm)
    more = np.ceil(np.abs(moved)).astype(int).tolist()
    angle = math.degrees(math.atan2(float(np.linalg.norm(drift)), height))
    wanted = {
        "shape": (n, size[1] + more[1], size[0] + more[0]),
        "origin_mm": tuple(origin.tolist()),
        "remarks": (f"its slices are tilted by {angle:.1f} degrees; resampled to perpendicular axes",),
    }
    length = float(np.linalg.norm(step))
    tilted = {
        "file_spacing_mm": (x_mm, y_mm, length),
        "direction": tuple(np.column_stack([axes[:, :2], step / length]).ravel().tolist()),
    }
    return stored.model_copy(update=tilted), stored.model_copy(update=wanted)


def _axes(rows_and_columns: _Vector) -> NDArray[np.float64]:
    """x, y and z as columns: the nearest rotation, as tags are rounded."""
    x, y = rows_and_columns[:3], rows_and_columns[3:]
    given = np.stack([x, y, np.cross(x, y)], axis=1)
    fault = float(np.abs(given.T @ given - np.eye(3)).max())
    if not fault < 10 * _SAME_DIRECTION:
        raise DatasetError(
            f"its ImageOrientationPatient {rows_and_columns.tolist()} is no pair of perpendicular unit vectors"
            "; correct it, or choose another series"
        )
    if fault < _EXACT:
        return given
    u, _, v = np.linalg.svd(given)
    return np.asarray(u @ v)


def _resampled(array: NDArray[np.float32], stored: Geometry, wanted: Geometry) -> NDArray[np.float32]:
    """Linearly, from tilted slices to perpendicular axes; the smallest value around them."""
    found = sitk.Resample(
        image_of(array, stored),
        wanted.shape[::-1],
        sitk.Transform(),
        sitk.sitkLinear,
        wanted.origin_mm,
        wanted.file_spacing_mm,
        wanted.direction,
        float(array.min()),
    )
    return sitk.GetArrayFromImage(found)
