"""DICOM series of a small synthetic volume in any orientation."""

from __future__ import annotations

import itertools

import highdicom
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

__all__ = ["ORIENTATIONS", "SLOPE", "oriented", "segmentation", "volume_of_labels", "write_series"]

SLOPE, INTERCEPT = 0.5, -8.0
#: All permutations of the axes, each with all flips.
ORIENTATIONS = [
    (order, flips)
    for order in itertools.permutations(range(3))
    for flips in itertools.product([False, True], repeat=3)
]


def volume_of_labels():
    """0, 1 and 2 at places without any symmetry; spacing and origin differ along all axes."""
    array = np.zeros((7, 9, 11), np.float32)
    array[1:5, 2:4, 3:9] = 1
    array[5, 6:8, 2:5] = 1
    array[2:6, 5, 7:10] = 2
    array[1, 2, 3] = 2
    array[4, 7:, 1] = 1
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.8, 1.1, 2.5))
    image.SetOrigin((-31.0, 12.5, 140.25))
    return image


def oriented(image, order, flips, *, rotation=None):
    """The same image, its axes stored in another order and direction; with a rotation, lying elsewhere."""
    found = sitk.Flip(sitk.PermuteAxes(image, order), flips)
    if rotation is not None:
        found.SetDirection((rotation @ np.reshape(found.GetDirection(), (3, 3))).ravel().tolist())
    return found


def write_series(folder, image, *, drift_mm=(0.0, 0.0), name="IM{:03d}.dcm", modality="CT", **tags):
    """One file per slice, numbered in the order of the image's z; returns them.

    Args:
        drift_mm: Shift of each slice against the one before along x and y, as of a tilted gantry.
        name: Of the files.
        tags: Further values, of all slices.
    """
    folder.mkdir(parents=True, exist_ok=True)
    array = sitk.GetArrayFromImage(image)
    axes = np.reshape(image.GetDirection(), (3, 3))
    series, place, frame = generate_uid(), generate_uid(), np.array(image.GetOrigin())
    study, x_y = tags.pop("StudyInstanceUID", generate_uid()), np.array(drift_mm)
    files = []
    for number, plane in enumerate(array, start=1):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = {"CT": CTImageStorage, "MR": MRImageStorage}[modality]
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file = folder / name.format(number)
        data = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
        position = (
            frame + axes[:, 2] * image.GetSpacing()[2] * (number - 1) + axes[:, :2] @ x_y * (number - 1)
        )
        values = {
            "SOPClassUID": meta.MediaStorageSOPClassUID, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "StudyInstanceUID": study, "SeriesInstanceUID": series, "FrameOfReferenceUID": place,
            "Modality": modality, "PatientID": "P1", "PatientName": "Doe^J", "PatientBirthDate": "", "PatientSex": "",
            "StudyDate": "20260102", "StudyTime": "101112", "StudyID": "1", "AccessionNumber": "",
            "ReferringPhysicianName": "", "Manufacturer": "m", "SeriesNumber": 3, "InstanceNumber": number,
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "PositionReferenceIndicator": "",
            "ImagePositionPatient": [float(f"{v:.10g}") for v in position],
            "ImageOrientationPatient": [float(f"{v:.10g}") for v in axes[:, :2].T.ravel()],
            "PixelSpacing": list(image.GetSpacing()[1::-1]), "SliceThickness": image.GetSpacing()[2],
            "Rows": plane.shape[0], "Columns": plane.shape[1], "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
            "PixelRepresentation": 1, "RescaleSlope": SLOPE, "RescaleIntercept": INTERCEPT, "RescaleType": "HU",
            "AcquisitionNumber": 1, "PatientPosition": "HFS", **tags,
        }  # fmt: skip
        for tag, value in values.items():
            setattr(data, tag, value)
        stored = np.rint((plane - INTERCEPT) / SLOPE).astype("<i2")
        data.PixelData = stored.tobytes()
        pydicom.dcmwrite(file, data)
        files.append(file)
    return files


def segmentation(folder, names, planes, *, kind="BINARY"):
    """A DICOM-SEG beside a series, of the masks v == 1, v == 2, ... in some of its planes."""
    sources = [pydicom.dcmread(file) for file in sorted(folder.glob("IM*"))][planes]
    stored = np.stack([one.pixel_array * 0.5 - 8 for one in sources]).astype(np.uint8)
    described = [
        highdicom.seg.SegmentDescription(number, name, codes.SCT.Organ, codes.SCT.Liver, "MANUAL")
        for number, name in enumerate(names, start=1)
    ]
    made = highdicom.seg.Segmentation(
        sources, stored, kind, described, generate_uid(), 9, generate_uid(), 1, "m", "n", "1", "1"
    )
    made.save_as(folder / "seg.dcm")
