"""Labels in DICOM objects: segments of a DICOM-SEG, contours of an RTSTRUCT, on the grid of the image they refer to.

Sources: DICOM PS3.3 sections C.8.20 (Segmentation) and C.8.8.6 (ROI Contour).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from segflow.contracts.arrays import LabelMap, Mask
from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.images.dicom.files import Header, dicom_libraries, naming

__all__ = ["LABEL_OBJECTS", "label_map", "names_of", "on_grid", "referenced_series", "volume_of"]

#: Values of Modality.
LABEL_OBJECTS: Final = ("SEG", "RTSTRUCT")
_SAME_GRID: Final = 1e-3
_BETWEEN_SLICES: Final = 0.25  # of their distance


def referenced_series(file: Path) -> str:
    """SeriesInstanceUID of the images that an object is about.

    Raises:
        DatasetError: It cannot be read, or names none.
    """
    header = _header(file)
    with naming(file):
        if header.Modality == "SEG":
            return str(header.ReferencedSeriesSequence[0].SeriesInstanceUID)
        frame = header.ReferencedFrameOfReferenceSequence[0]
        return str(frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID)


def names_of(file: Path) -> dict[str, int]:
    """The names of segments or structures, and their numbers in the object.

    Raises:
        DatasetError: It cannot be read, or two have the same name.
    """
    header = _header(file)
    with naming(file):
        is_seg = header.Modality == "SEG"
        pairs = (
            [
                (str(one.SegmentLabel), int(one.SegmentNumber))
                for one in header.SegmentSequence
                if one.SegmentNumber  # 0 is the background of a label map
            ]
            if is_seg
            else [(str(one.ROIName), int(one.ROINumber)) for one in header.StructureSetROISequence]
        )
    found = dict(pairs)
    if len(found) < len(pairs):
        raise DatasetError(
            f"{file} holds several segments of one name ({', '.join(name for name, _ in pairs)}); rename them"
        )
    return found


def label_map(files: Sequence[Path], values: Mapping[str, int], geometry: Geometry) -> LabelMap:
    """The label map, (z, y, x), that objects describe on the grid of their image.

    Args:
        files: Of one image; each holds some of the segments.
        values: Of the segments that are wanted, by name.
        geometry: Of the image.

    Raises:
        DatasetError: An object cannot be read, lies on another grid, or two wanted segments overlap.
    """
    found = np.zeros(geometry.shape, np.uint16)
    owners = {value: name for name, value in values.items()}
    for file in files:
        for name, mask in _masks(file, values, geometry):
            there = found[mask]
            if there.any():
                other, n = owners[int(there.max())], int(np.count_nonzero(there))
                if other == name:
                    raise DatasetError(
                        f"{file}: another file for the same series has {name}, too; choose one with --label TEXT"
                    )
                raise DatasetError(
                    f"{file}: {name} overlaps {other} in {n} voxels, and a voxel has one label; leave one out with "
                    "--labels"
                )
            found[mask] = values[name]
    return found


def volume_of(geometry: Geometry, array: Any) -> Any:
    """An array on a grid as highdicom's volume, (z, y, x) as axes."""
    _, highdicom = dicom_libraries()
    axes = np.reshape(geometry.direction, (3, 3))[:, ::-1]
    return highdicom.Volume.from_components(
        array,
        spacing=geometry.file_spacing_mm[::-1],
        coordinate_system="PATIENT",
        position=geometry.origin_mm,
        direction=axes,
    )


def on_grid(labels: Any, geometry: Geometry, where: str) -> LabelMap:
    """Labels, a volume of highdicom's, as (z, y, x) of another geometry: axes turned, the rest filled with 0.

    Raises:
        DatasetError: Their voxels lie between those of the geometry.
    """
    grid = volume_of(geometry, np.zeros(geometry.shape, np.uint8))
    try:
        found: LabelMap = labels.match_geometry(grid, tol=_SAME_GRID).array
    except (RuntimeError, ValueError) as problem:
        reason = str(problem).splitlines()[0].rstrip(".")
        raise DatasetError(
            f"{where} lies on another grid than its image ({reason}); resample it to the image's"
        ) from None
    return found


def _header(file: Path) -> Header:
    pydicom, _ = dicom_libraries()
    with naming(file):
        return pydicom.dcmread(file, stop_before_pixels=True)


def _masks(file: Path, values: Mapping[str, int], geometry: Geometry) -> Iterator[tuple[str, Mask]]:
    numbers = {name: number for name, number in names_of(file).items() if name in values}
    if _header(file).Modality == "SEG":
        yield from _segments(file, numbers, geometry)
        return
    pydicom, _ = dicom_libraries()
    with naming(file):
        drawn = pydicom.dcmread(file).get("ROIContourSequence") or ()
        structures = {int(one.ReferencedROINumber): one.get("ContourSequence") or () for one in drawn}
    for name, number in numbers.items():
        with naming(file):
            contours = [
                np.reshape([float(value) for value in one.ContourData], (-1, 3))
                for one in structures.get(number, ())  # none, if it was named and never drawn
                if str(one.ContourGeometricType).startswith("CLOSED")
            ]
        yield name, _filled(contours, geometry, f"{file}: {name}")


def _segments(file: Path, numbers: Mapping[str, int], geometry: Geometry) -> Iterator[tuple[str, Mask]]:
    _, highdicom = dicom_libraries()
    with naming(file):
        opened = highdicom.seg.segread(file)
    for name, number in numbers.items():
        with naming(file):
            volume = opened.get_volume(segment_numbers=[number], combine_segments=False)
            array = volume.array[..., 0] > 0.5  # a probability or occupancy, or 0 and 1
            segment = volume.with_array(array.astype(np.uint8), channels=None)
        yield name, on_grid(segment, geometry, f"{file}: {name}").astype(bool)


def _filled(contours: Sequence[Any], geometry: Geometry, where: str) -> Mask:
    """Voxels whose centres are inside; contours within others are holes, as is usual."""
    mask = np.zeros(geometry.shape, bool)
    axes = np.reshape(geometry.direction, (3, 3))
    for points in contours:
        index = (points - geometry.origin_mm) @ axes / geometry.file_spacing_mm
        height = np.rint(index[:, 2].mean())
        if not np.isfinite(index).all() or np.abs(index[:, 2] - height).max() > _BETWEEN_SLICES:
            raise DatasetError(
                f"{where} has a contour that is in no slice of its image; draw it on this image again"
            )
        if 0 <= height < len(mask):
            _flip_inside(mask[int(height)], index[:, :2])
    return mask


def _flip_inside(plane: Mask, polygon: Any) -> None:
    (x0, y0), (x1, y1) = (
        np.clip(edge, 0, plane.shape[::-1]).astype(int)
        for edge in (np.floor(polygon.min(axis=0)), np.ceil(polygon.max(axis=0)) + 1)
    )
    from matplotlib.path import Path as Polygon  # noqa: PLC0415  half a second

    y, x = np.mgrid[y0:y1, x0:x1]
    inside = Polygon(polygon).contains_points(np.column_stack([x.ravel(), y.ravel()]))
    plane[y0:y1, x0:x1] ^= inside.reshape(y.shape)
