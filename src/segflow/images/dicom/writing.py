"""Label maps as DICOM objects of the study that their image belongs to: DICOM-SEG and RTSTRUCT.

Sources: DICOM PS3.3 sections A.51 (Segmentation) and A.19 (RT Structure Set); colours in CIELab as in C.10.7.1.1.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import LabelMap
from segflow.contracts.case import Geometry
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels, members
from segflow.images.dicom.concepts import Origin, colour_of, concept_of
from segflow.images.dicom.files import Header, dicom_libraries, naming, slices_of
from segflow.images.dicom.labels import volume_of
from segflow.images.dicom.structures import structure_set
from segflow.storage.files import open_atomically

__all__ = ["DicomFormat", "LabelFormat", "check_holds", "write_dicom"]

DicomFormat = Literal["dicom-seg", "dicom-labelmap", "dicom-rtstruct"]
#: Of a label map: that of its image, or one of these.
LabelFormat = Literal["image", "dicom-seg", "dicom-labelmap", "dicom-rtstruct"]

_MAY_BE_EMPTY: Final = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator",
)  # fmt: skip
_SERIES_NUMBER: Final = 900


def write_dicom(
    path: Path, kind: DicomFormat, labels: LabelMap, geometry: Geometry, *, source: Path, origin: Origin
) -> None:
    """Write a label map as an object of its image's study, atomically.

    Args:
        path: Of the new file.
        kind: dicom-seg has a bit per voxel and segment, and one segment for each class or region; dicom-labelmap
            holds the values themselves, which few programs read yet; dicom-rtstruct has contours.
        labels: (z, y, x).
        geometry: Of the image.
        source: The file of the series that the image was read from.
        origin: How it was made.

    Raises:
        DatasetError: The series cannot be read any more.
        PredictionError: The object cannot hold the labels.
    """
    headers = [_header(file) for file in slices_of(source)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(source), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of unusual values that are taken over, such as a patient without a first name
        if kind == "dicom-rtstruct":
            made = structure_set(labels, geometry, headers, origin)
        else:
            made = _segmentation(kind, labels, geometry, headers, origin)
        with open_atomically(path) as temporary:
            made.save_as(temporary)


def check_holds(kind: LabelFormat, labels: Labels) -> None:
    """Refuse a format that cannot hold the labels that a model predicts.

    Raises:
        PredictionError: Regions overlap, and the format has one label per voxel.
    """
    if kind == "dicom-labelmap" and labels.has_regions:
        raise PredictionError(
            f"{kind} has one label per voxel, but the model's regions overlap; use dicom-seg"
        )


def _header(file: Path) -> Header:
    """Of an image; what anonymous files leave out is empty, as DICOM wants it."""
    pydicom, _ = dicom_libraries()
    with naming(file):
        header = pydicom.dcmread(file, stop_before_pixels=True)
        header.decode()
        header.SpecificCharacterSet = "ISO_IR 192"  # UTF-8, whatever it was, or was left empty
        for tag in _MAY_BE_EMPTY:
            if tag not in header:
                setattr(header, tag, "")
    return header


def _segmentation(
    kind: DicomFormat, labels: LabelMap, geometry: Geometry, headers: Sequence[Header], origin: Origin
) -> Any:
    pydicom, highdicom = dicom_libraries()
    check_holds(kind, origin.labels)
    overlapping = origin.labels.has_regions
    targets = origin.labels.targets
    if overlapping:
        masks = [np.isin(labels, members(target)) for target in targets]
        array: NDArray[Any] = np.stack(masks, axis=-1).astype(np.uint8)
    else:
        numbers = np.zeros(max(*origin.labels.values, 1) + 1, np.uint16)
        numbers[[members(target)[0] for target in targets]] = range(1, len(targets) + 1)
        array = numbers[labels]
    made = highdicom.seg.Segmentation(
        source_images=list(headers),
        pixel_array=_with_frame(array, geometry, headers[0], n_segments=len(targets) * overlapping),
        segmentation_type="BINARY" if kind == "dicom-seg" else "LABELMAP",
        segment_descriptions=_segments(origin),
        series_instance_uid=pydicom.uid.generate_uid(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=pydicom.uid.generate_uid(),
        instance_number=1,
        manufacturer="segflow developers",
        manufacturer_model_name="segflow",
        software_versions=origin.version,
        device_serial_number=origin.digest[:16] or "0",
        content_label="SEGMENTATION",
        content_description=f"segflow, model {origin.model}"[:64],
    )
    made.SeriesDescription = f"segflow {origin.model}"[:64]
    return made


def _with_frame(array: Any, geometry: Geometry, header: Header, *, n_segments: int) -> Any:
    """The array as a volume in the source's frame of reference; with segments as its last axis, if there are any."""
    _, highdicom = dicom_libraries()
    grid = volume_of(geometry, np.zeros(geometry.shape, np.uint8))
    return highdicom.Volume(
        array,
        grid.affine,
        "PATIENT",
        frame_of_reference_uid=header.get("FrameOfReferenceUID"),
        channels={"SegmentNumber": range(1, n_segments + 1)} if n_segments else None,
    )


def _segments(origin: Origin) -> list[Any]:
    """One description per class or region."""
    pydicom, highdicom = dicom_libraries()
    family = pydicom.sr.codedict.codes.DCM.ArtificialIntelligence
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=f"segflow {origin.model}"[:64],
        family=family,
        version=origin.version,
        source="segflow developers",
        parameters={"model": origin.digest[:64]} if origin.digest else None,
    )
    found = []
    for number, name in enumerate(origin.labels.target_names, start=1):
        category, concept = concept_of(name, origin.codes)
        found.append(
            highdicom.seg.SegmentDescription(
                segment_number=number,
                segment_label=name[:64],
                segmented_property_category=category,
                segmented_property_type=concept,
                algorithm_type="AUTOMATIC",
                algorithm_identification=algorithm,
                tracking_uid=pydicom.uid.generate_uid(),
                tracking_id=name[:64],
                display_color=highdicom.color.CIELabColor.from_rgb(*colour_of(number)),
            )
        )
    return found
