"""Label maps as an RTSTRUCT: closed contours in the planes of the image's slices.

Contours run halfway between voxel centres inside and outside, so that the centres inside are the voxels of the label. A
hole is a contour within another one: what is inside of an even number of contours is outside, as readers have it.

Source: DICOM PS3.3 sections A.19 and C.8.8.6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import LabelMap, Mask
from segflow.contracts.case import Geometry
from segflow.contracts.labels import members
from segflow.images.dicom.concepts import Origin, colour_of, concept_of
from segflow.images.dicom.files import Header, dicom_libraries, is_multiframe

__all__ = ["structure_set"]

_CLASS: Final = "1.2.840.10008.5.1.4.1.1.481.3"  # RT Structure Set Storage
_SERIES_NUMBER: Final = 901
_STRAIGHT: Final = 1e-9

_Points = NDArray[np.float64]


def structure_set(labels: LabelMap, geometry: Geometry, headers: Sequence[Header], origin: Origin) -> Any:
    """A structure per class or region, as a data set to be saved; one without voxels has no contours.

    Args:
        labels: (z, y, x).
        geometry: Of the image.
        headers: Of the image's files.
        origin: How the labels were made.
    """
    pydicom, highdicom = dicom_libraries()
    source, now = headers[0], datetime.now().astimezone()
    made = highdicom.base.SOPClass(
        study_instance_uid=source.StudyInstanceUID,
        series_instance_uid=pydicom.uid.generate_uid(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=pydicom.uid.generate_uid(),
        sop_class_uid=_CLASS,
        instance_number=1,
        modality="RTSTRUCT",
        manufacturer="segflow developers",
        manufacturer_model_name="segflow",
        software_versions=origin.version,
        device_serial_number=origin.digest[:16] or "0",
        series_description=f"segflow {origin.model}"[:64],
        transfer_syntax_uid=pydicom.uid.ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
    )
    made.copy_patient_and_study_information(source)
    made.StructureSetLabel, made.StructureSetName = "segflow", f"segflow {origin.model}"[:64]
    made.StructureSetDate, made.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    made.FrameOfReferenceUID = source.FrameOfReferenceUID
    made.PositionReferenceIndicator = source.PositionReferenceIndicator
    images = _images_by_slice(headers, geometry)
    made.ReferencedFrameOfReferenceSequence = [_frame_of_reference(source, headers)]
    targets = list(zip(origin.labels.target_names, origin.labels.targets, strict=True))
    made.StructureSetROISequence = [_roi(n, name, source, origin) for n, (name, _) in enumerate(targets, 1)]
    made.RTROIObservationsSequence = [_observation(n, name, origin) for n, (name, _) in enumerate(targets, 1)]
    made.ROIContourSequence = [
        _item(
            ReferencedROINumber=number,
            ROIDisplayColor=list(colour_of(number)),
        )
        for number in range(1, len(targets) + 1)
    ]
    for item, (_, target) in zip(made.ROIContourSequence, targets, strict=True):
        contours = list(_contours(np.isin(labels, members(target)), geometry, images))
        if contours:
            item.ContourSequence = contours
    return made


def _item(**values: Any) -> Any:
    pydicom, _ = dicom_libraries()
    found = pydicom.Dataset()
    for tag, value in values.items():
        setattr(found, tag, value)
    return found


def _image(header: Header, *, frame: int | None = None) -> Any:
    """A reference to an image."""
    found = _item(ReferencedSOPClassUID=header.SOPClassUID, ReferencedSOPInstanceUID=header.SOPInstanceUID)
    if frame is not None:
        found.ReferencedFrameNumber = frame
    return found


def _images_by_slice(headers: Sequence[Header], geometry: Geometry) -> dict[int, Any]:
    axis = np.reshape(geometry.direction, (3, 3))[:, 2]
    if is_multiframe(headers[0]):
        frames = enumerate(headers[0].PerFrameFunctionalGroupsSequence, start=1)
        placed = [
            (frame.PlanePositionSequence[0].ImagePositionPatient, _image(headers[0], frame=number))
            for number, frame in frames
        ]
    else:
        placed = [(header.ImagePositionPatient, _image(header)) for header in headers]
    return {
        round(float((np.array(position, float) - geometry.origin_mm) @ axis) / geometry.spacing_mm[0]): image
        for position, image in placed
    }


def _frame_of_reference(source: Header, headers: Sequence[Header]) -> Any:
    series = _item(
        SeriesInstanceUID=source.SeriesInstanceUID,
        ContourImageSequence=[_image(header) for header in headers],
    )
    study = _item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",  # of studies: retired, but the type wants one
        ReferencedSOPInstanceUID=source.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _item(FrameOfReferenceUID=source.FrameOfReferenceUID, RTReferencedStudySequence=[study])


def _roi(number: int, name: str, source: Header, origin: Origin) -> Any:
    return _item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=source.FrameOfReferenceUID,
        ROIName=name[:64],
        ROIGenerationAlgorithm="AUTOMATIC",
        ROIGenerationDescription=f"segflow {origin.version}, model {origin.model}"[:64],
    )


def _observation(number: int, name: str, origin: Origin) -> Any:
    _, concept = concept_of(name, origin.codes)
    code = _item(
        CodeValue=concept.value, CodingSchemeDesignator=concept.scheme_designator, CodeMeaning=concept.meaning
    )
    return _item(
        ObservationNumber=number,
        ReferencedROINumber=number,
        RTROIIdentificationCodeSequence=[code],
        RTROIInterpretedType="",
        ROIInterpreter="",
    )


def _contours(mask: Mask, geometry: Geometry, images: Mapping[int, Any]) -> Iterator[Any]:
    axes, spacing = np.reshape(geometry.direction, (3, 3)), geometry.file_spacing_mm
    for z in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
        for points in _polygons(mask[z]):
            index = np.column_stack([points, np.full(len(points), float(z))])
            places = index * spacing @ axes.T + geometry.origin_mm
            yield _item(
                ContourImageSequence=[images[z]],
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(places),
                ContourData=[f"{value:.4f}" for value in places.ravel().tolist()],
            )


def _polygons(plane: Mask) -> Iterator[_Points]:
    """Closed contours of a plane, (n, 2) as x, y in voxels, without the first point again."""
    from contourpy import contour_generator  # noqa: PLC0415  matplotlib's, only for RTSTRUCT

    for ring in contour_generator(z=np.pad(plane, 1).astype(float)).lines(0.5):
        yield _without_straight(np.asarray(ring)[:-1] - 1.0)


def _without_straight(ring: _Points) -> _Points:
    """Points between two others on a line are left out."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    return ring[np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > _STRAIGHT]
