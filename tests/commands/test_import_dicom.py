"""`segflow import dicom`: series and their labels become a data set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from case_samples import CLASSES
from dicom_samples import oriented, segmentation, volume_of_labels, write_series
from pydicom.uid import generate_uid
from score_calls import read
from stage_calls import call

from segflow.commands.main import main
from segflow.images.cases import read_image
from segflow.images.dataset import read_dataset
from segflow.images.dicom.concepts import Origin
from segflow.images.dicom.writing import write_dicom

SHARED = Path(__file__).parents[3] / "shared" / "data" / "dicom_seg_ct3"
SLICES = ("ct-3slice_01.dcm", "ct-3slice_02.dcm", "ct-3slice_03.dcm")
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the DICOM files of dcmqi")


def refused(capsys, *words):
    assert main(["import", "dicom", *map(str, words)]) == 1
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segments_become_labels(kind, tmp_path):
    """Of six patients, one of whom was seen twice; the series lies anyhow, and some slices have no frame."""
    image = oriented(volume_of_labels(), (2, 0, 1), (True, False, True))
    for number in range(6):
        for date in ("20260102", "20270304")[: 1 + (number == 0)]:
            folder = tmp_path / "studies" / f"{number}_{date}"
            write_series(folder, image, PatientID=f"P{number}", StudyDate=date)
            segmentation(folder, ["liver", "spleen"], slice(1, 9), kind=kind)
    call("import", "dicom", tmp_path / "studies", "--output", tmp_path / "new")
    found = read_dataset(tmp_path / "new")
    assert found.channel_names == ("CT",)
    assert found.labels.as_json["labels"] == {"background": 0, "liver": 1, "spleen": 2}
    names = [case.identifier for case in found.cases]
    assert names == ["P0_20260102", "P0_20270304", *(f"P{n}_20260102" for n in range(1, 6))]
    expected = sitk.GetArrayFromImage(image)
    expected[0] = expected[9:] = 0  # planes without a frame
    for case in found.cases:
        label, volume = sitk.ReadImage(str(case.label)), sitk.ReadImage(str(case.images[0]))
        assert label.GetOrigin() == volume.GetOrigin()
        assert label.GetDirection() == volume.GetDirection()
        straight = sitk.Resample(label, image, sitk.Transform(), sitk.sitkNearestNeighbor, 99)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(straight), expected)
        assert volume.GetPixelID() == sitk.sitkInt16
    patients = dict(
        line.split(",") for line in (tmp_path / "new" / "patients.csv").read_text().splitlines()[1:]
    )
    assert patients == {name: name[:2] for name in names}
    call("check", tmp_path / "new", "--workers", 1)


def test_structures_become_labels(tmp_path, capsys):
    """One of the contours lies between slices later."""
    files = write_series(tmp_path / "s", oriented(volume_of_labels(), (1, 0, 2), (False, True, False)))
    image, geometry = read_image([files[0]], case="a")
    file = tmp_path / "s" / "structures.dcm"
    origin = Origin(CLASSES, "m", "d", "1")
    write_dicom(file, "dicom-rtstruct", image[0].astype(np.uint8), geometry, source=files[0], origin=origin)
    call("import", "dicom", tmp_path / "s", "--output", tmp_path / "new", "--labels", "c2", "c1")
    found = read(tmp_path / "new" / "labelsTr" / "P1.nii.gz")
    np.testing.assert_array_equal(found, np.array([0, 2, 1])[image[0].astype(int)])
    data = pydicom.dcmread(file)
    contour = data.ROIContourSequence[1].ContourSequence[0]
    contour.ContourData = [float(v) + (i % 3 == 2) for i, v in enumerate(contour.ContourData)]
    data.save_as(file)
    said = refused(capsys, tmp_path / "s", "--output", tmp_path / "other")
    assert "structures.dcm: c2 has a contour that is in no slice of its image" in said


def test_a_structure_that_was_never_drawn_and_two_files_with_the_same_ones(tmp_path, capsys):
    files = write_series(tmp_path / "s", volume_of_labels())
    image, geometry = read_image([files[0]], case="a")
    file, labels = tmp_path / "s" / "one.dcm", image[0].astype(np.uint8)
    origin = Origin(CLASSES, "m", "d", "1")
    write_dicom(file, "dicom-rtstruct", labels, geometry, source=files[0], origin=origin)
    data = pydicom.dcmread(file)
    del data.ROIContourSequence[1]
    data.save_as(file)
    call("import", "dicom", tmp_path / "s", "--output", tmp_path / "new")
    found = read(tmp_path / "new" / "labelsTr" / "P1.nii.gz")
    np.testing.assert_array_equal(found, labels == 1)
    other = file.with_name("other.dcm")
    write_dicom(other, "dicom-rtstruct", labels, geometry, source=files[0], origin=origin)
    said = refused(capsys, tmp_path / "s", "--output", tmp_path / "twice")
    assert "another file for the same series has c1, too; choose one with --label TEXT" in said
    call("import", "dicom", tmp_path / "s", "--output", tmp_path / "chosen", "--label", "other")


def test_a_study_without_labels_among_others(tmp_path, capsys):
    for name in "ab":
        write_series(tmp_path / name, volume_of_labels(), PatientID=name)
    segmentation(tmp_path / "a", ["liver", "spleen"], slice(None))
    said = refused(capsys, tmp_path / "a", tmp_path / "b", "--output", tmp_path / "new")
    assert f"{tmp_path / 'b'} has no labels, while other studies have" in said


def test_channels_by_description(tmp_path, capsys):
    image, study = volume_of_labels(), generate_uid()
    for name, description in (("a", "ax T1 fs"), ("b", "ax T2")):
        write_series(
            tmp_path / "s" / name, image, modality="MR", SeriesDescription=description, StudyInstanceUID=study
        )
    segmentation(tmp_path / "s" / "a", ["a", "b"], slice(None))
    call("import", "dicom", tmp_path / "s", "--output", tmp_path / "new", "--channels", "T2", "first=T1")
    (case,) = read_dataset(tmp_path / "new").cases
    assert len(case.images) == 2
    assert json.loads((tmp_path / "new" / "dataset.json").read_text())["channel_names"] == {
        "0": "T2",
        "1": "first",
    }
    said = refused(capsys, tmp_path / "s", "--output", tmp_path / "other", "--channels", "T3")
    assert "channel T3: 'T3' is in the description of 0 series; name one: 3: MR ax T1 fs" in said


def test_a_mirrored_label_image_is_turned(tmp_path, capsys):
    """As another converter may write it: the same places, axes in another direction."""
    image = volume_of_labels()
    write_series(tmp_path / "s", image)
    sitk.WriteImage(
        sitk.Cast(oriented(image, (1, 0, 2), (False, True, True)), sitk.sitkUInt8),
        str(tmp_path / "s" / "l.nii"),
    )
    call("import", "dicom", tmp_path / "s", "--output", tmp_path / "new")
    found = read(tmp_path / "new" / "labelsTr" / "P1.nii.gz")
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(image))
    assert read_dataset(tmp_path / "new").labels.as_json["labels"] == {
        "background": 0,
        "label 1": 1,
        "label 2": 2,
    }
    image.SetOrigin((-31.3, 12.5, 140.25))
    sitk.WriteImage(sitk.Cast(image, sitk.sitkUInt8), str(tmp_path / "s" / "l.nii"))
    said = refused(capsys, tmp_path / "s", "--output", tmp_path / "other")
    assert "l.nii lies on another grid than its image" in said


def test_a_flat_label_image_has_no_place(tmp_path, capsys):
    image = volume_of_labels()[:, :, :1]
    write_series(tmp_path / "s", image)
    sitk.WriteImage(sitk.Cast(image[:, :, 0], sitk.sitkUInt8), str(tmp_path / "s" / "l.nii"))
    said = refused(capsys, tmp_path / "s", "--output", tmp_path / "new")
    assert "l.nii is a 2D image, without a position in the patient; save it as a volume" in said


def test_labels_that_are_not_clear(tmp_path, capsys):
    folder = tmp_path / "s"
    write_series(folder, volume_of_labels())
    output = ("--output", tmp_path / "new")
    assert "needs a DICOM-SEG, an RTSTRUCT or one label image, found none" in refused(capsys, folder, *output)
    segmentation(folder, ["a", "b"], slice(None))
    assert "no label is called c; there are a, b" in refused(capsys, folder, *output, "--labels", "c")
    (tmp_path / "alone").mkdir()
    shutil.copy(folder / "seg.dcm", tmp_path / "alone")
    assert ", which is not there; give the folder with its images" in refused(
        capsys, tmp_path / "alone", *output
    )
    segmentation(folder, ["a", "background"], slice(None))
    assert "a label cannot be called background, which has a meaning" in refused(capsys, folder, *output)
    segmentation(folder, ["a", "a"], slice(None))
    assert "holds several segments of one name (a, a); rename them" in refused(capsys, folder, *output)
    (folder / "seg.dcm").write_bytes((folder / "seg.dcm").read_bytes()[:900])
    assert "seg.dcm" in refused(capsys, folder, *output)
    assert main(["import", "msd", str(folder), str(folder), "--output", str(tmp_path / "x")]) == 1
    assert "msd is read from one folder or file, found 2" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "new" / "dataset.json").exists()


def staged(tmp_path, *names):
    folder = tmp_path / "study"
    folder.mkdir()
    for name in names:
        shutil.copy(SHARED / name, folder)
    return folder


@pytest.mark.data
@needs_data
@pytest.mark.parametrize(
    ("labels", "options", "expected", "pairs"),
    [
        ("liver.dcm", [], "liver_seg.nrrd", [(1, 1)]),
        ("liver_spine_seg.nrrd", [], "liver_spine_seg.nrrd", [(1, 1), (2, 2)]),
        ("liver_spine_gapped_seg.nrrd", [], "liver_spine_gapped_seg.nrrd", [(1, 1), (5, 5)]),
        (
            "partial_overlaps.dcm", ["GREEN", "LIGHT_BLUE", "DARK_BLUE"], "partial_overlaps-1.nrrd",
            [(1, 1), (2, 4), (3, 5)],
        ),
        ("partial_overlaps.dcm", ["ORANGE"], "partial_overlaps-2.nrrd", [(1, 2)]),
        ("partial_overlaps.dcm", ["PURPLE"], "partial_overlaps-3.nrrd", [(1, 3)]),
    ],
)  # fmt: skip
def test_real_labels(labels, options, expected, pairs, tmp_path):
    """Against the label maps that dcmqi's authors made of them; slices without a frame stay empty."""
    folder = staged(tmp_path, *SLICES, labels)
    call(
        "import", "dicom", folder, "--output", tmp_path / "new", *(["--labels", *options] if options else [])
    )
    found, reference = read(tmp_path / "new" / "labelsTr" / "99000.nii.gz"), read(SHARED / expected)
    assert [
        (int((found == own).sum()), int(((found == own) != (reference == other)).sum()))
        for own, other in pairs
    ] == [(int((reference == other).sum()), 0) for _, other in pairs]
    assert set(np.unique(found)) == {0, *(own for own, _ in pairs)}


@pytest.mark.data
@needs_data
def test_real_overlaps_are_refused(tmp_path, capsys):
    folder = staged(tmp_path, *SLICES, "partial_overlaps.dcm")
    said = refused(capsys, folder, "--output", tmp_path / "new")
    assert "partial_overlaps.dcm: ORANGE overlaps GREEN in 3017 voxels, and a voxel has one label" in said


@pytest.mark.data
@needs_data
@pytest.mark.parametrize("kind", ["Image", "Multiframe"])
def test_real_series_with_a_label_image(kind, tmp_path):
    call(
        "import", "dicom", SHARED / "24x38x3", SHARED / "23x38x3", "--output", tmp_path / "new",
        "--channels", f"CT={kind}",
    )  # fmt: skip
    (small, large) = sorted(read_dataset(tmp_path / "new").cases, key=lambda case: read(case.label).size)
    for case, name in ((small, "23x38x3"), (large, "24x38x3")):
        np.testing.assert_array_equal(read(case.label), read(SHARED / name / "label.nrrd"))
