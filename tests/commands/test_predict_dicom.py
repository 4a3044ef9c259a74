"""DICOM series in, label maps out, by a network that is known: its label is a function of the intensity."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from case_samples import CLASSES, REGIONS, configuration_of, plan_of
from dicom_samples import ORIENTATIONS, oriented, volume_of_labels, write_series
from image_samples import read_one
from report_samples import model_card
from scipy.ndimage import binary_dilation, binary_erosion
from scipy.spatial.transform import Rotation

from segflow.commands import predict as verb
from segflow.contracts.errors import ConfigurationError, DatasetError, PredictionError
from segflow.images.dicom.concepts import Origin, concept_of
from segflow.images.dicom.files import find_series, headers_below
from segflow.images.dicom.labels import label_map
from segflow.images.dicom.writing import write_dicom
from segflow.images.itk import image_of
from segflow.prediction.predictor import Predictor
from segflow.prediction.sliding_window import FoldEnsemble
from segflow.recipes.inference import InferenceRecipe

OBLIQUE = Rotation.from_euler("xyz", (11, -23, 37), degrees=True).as_matrix()
SHARED = Path(__file__).parents[3] / "shared" / "data" / "dicom_seg_ct3"
SPACING = (2.5, 1.1, 0.8)


def threshold(batch):
    """Voxels of the first channel above 0.5 are 1, and above 1.5 are 2."""
    first = batch[:, :1]
    return torch.cat([0.5 - first, torch.zeros_like(first), first - 1.5], dim=1)


@pytest.fixture
def predict(tmp_path, monkeypatch):
    """A call with that network, in the spacing of the image; gives the folder of results."""
    recipe = InferenceRecipe(step=0.5, mirroring=False)

    def run(source, spacing_mm, *, channels=1, output=tmp_path / "out", **options):
        configuration = configuration_of(spacing_mm, ("none",) * channels)
        monkeypatch.setattr(
            Predictor,
            "from_folder",
            lambda *_, **__: Predictor(
                card=model_card(configuration.name, inference=recipe.model_dump()),
                plan=plan_of(configuration, (0, 1, 2)),
                labels=CLASSES,
                channels=channels,
                ending=".nii.gz",
                recipe=recipe,
                ensembles={
                    configuration.name: FoldEnsemble(configuration, [threshold], CLASSES, recipe, "cpu")
                },
                device="cpu",
                threads=1,
                digest="",
            ),
        )
        verb.predict(model=tmp_path, input=[source], output=output, device="cpu", threads=1, **options)
        return output

    return run


def displaced(found, expected):
    """Voxels that do not have the same label at the same place."""
    assert found.GetNumberOfPixels() == expected.GetNumberOfPixels()
    same = sitk.Resample(found, expected, sitk.Transform(), sitk.sitkNearestNeighbor, 99)
    return int((sitk.GetArrayFromImage(same) != sitk.GetArrayFromImage(expected)).sum())


@pytest.fixture(scope="module")
def orientations(tmp_path_factory):
    """Folders by the order of the axes, with a series and a NIfTI file of every flip, straight and oblique."""
    root = tmp_path_factory.mktemp("orientations")
    images = {}
    for order, flips in ORIENTATIONS:
        for rotation in (None, OBLIQUE):
            folder = root / "".join(map(str, order))
            name = "".join("-+"[flip] for flip in flips).replace("-", "n").replace("+", "p")
            name += "s" if rotation is None else "o"
            image = oriented(volume_of_labels(), order, flips, rotation=rotation)
            write_series(folder / "dicom" / name, image, PatientID=name)
            (folder / "nifti").mkdir(exist_ok=True)
            sitk.WriteImage(image, str(folder / "nifti" / f"{name}_0000.nii.gz"))
            images[folder, name] = image
    assert len(images) == 96
    return images


def of_every_orientation(orientations, predict, tmp_path, kind, **options):
    """The image, the folder of results, the name and the series of each."""
    for folder in sorted({folder for folder, _ in orientations}):
        names = [name for parent, name in orientations if parent == folder]
        if kind == "dicom":
            headers = headers_below(folder / "dicom")
            options["series"] = [one.text("SeriesInstanceUID") for one in find_series(headers)]
        spacing_mm = orientations[folder, names[0]].GetSpacing()[::-1]
        made = predict(folder / kind, spacing_mm, output=tmp_path / folder.name, **options)
        yield from ((orientations[folder, name], made, name, folder / "dicom" / name) for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dicom", "nifti"])
def test_no_voxel_is_displaced(kind, orientations, predict, tmp_path):
    found = [
        displaced(sitk.ReadImage(str(folder / f"{name}.nii.gz")), image)
        for image, folder, name, _ in of_every_orientation(orientations, predict, tmp_path, kind)
    ]
    assert found == [0] * 96


def read_by_dcmqi(file, folder):
    """A label map of the segments' numbers, and what dcmqi says of them."""
    folder.mkdir()
    program = shutil.which("segimage2itkimage", path=Path(sys.executable).parent)
    words = ["--inputDICOM", file, "--outputDirectory", folder, "--mergeSegments", "-t", "nrrd", "-p", "s"]
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (image,) = folder.glob("*.nrrd")
    (described,) = folder.glob("*.json")
    return sitk.ReadImage(str(image)), json.loads(described.read_text())["segmentAttributes"]


@pytest.mark.slow
def test_segments_by_another_reader(orientations, predict, tmp_path):
    """Of dcmqi, which leaves out planes without a segment, at the edges too."""
    found = []
    made = of_every_orientation(orientations, predict, tmp_path, "dicom", format="dicom-seg")
    for image, folder, name, _ in made:
        read, _ = read_by_dcmqi(folder / f"{name}.dcm", tmp_path / "read")
        shutil.rmtree(tmp_path / "read")
        same = sitk.Resample(read, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        found.append(int((sitk.GetArrayFromImage(same) != sitk.GetArrayFromImage(image)).sum()))
        assert read.GetNumberOfPixels() <= image.GetNumberOfPixels()
    assert found == [0] * 96


def labels_of(file):
    """As `segflow import dicom` reads them, beside the series."""
    found = highdicom.seg.segread(file)
    return found, found.get_volume(combine_segments=True).array


def read_by_plastimatch(file, series, folder):
    """Masks by name, on the grid of the series."""
    words = ["--input", file, "--referenced-ct", series, "--output-prefix", folder, "--prefix-format", "nrrd"]
    subprocess.run(["plastimatch", "convert", *map(str, words)], capture_output=True, check=True)
    return {mask.stem: sitk.ReadImage(str(mask)) for mask in folder.glob("*.nrrd")}


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["import", "plastimatch"])
def test_structures_of_every_orientation(reader, orientations, predict, tmp_path):
    """As `segflow import dicom` reads them, to the voxel; as plastimatch does, which may miss one at an edge."""
    if reader == "plastimatch" and shutil.which(reader) is None:
        pytest.skip("needs plastimatch")
    made = of_every_orientation(orientations, predict, tmp_path, "dicom", format="dicom-rtstruct")
    found = []
    for image, folder, name, series in made:
        file, expected = folder / f"{name}.dcm", sitk.GetArrayFromImage(image)
        if reader == "import":
            _, geometry = read_one(series / "IM001.dcm")
            lying = image_of(label_map([file], {"c1": 1, "c2": 2}, geometry), geometry)
            found.append(displaced(sitk.Cast(lying, sitk.sitkFloat32), image))
            continue
        masks = read_by_plastimatch(file, series, tmp_path / "read")
        shutil.rmtree(tmp_path / "read")
        for value in (1, 2):
            same = sitk.Resample(masks[f"c{value}"], image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
            wrong = (sitk.GetArrayFromImage(same) > 0) != (expected == value)
            assert not (wrong & binary_erosion(expected == value)).any()
            assert not (wrong & ~binary_dilation(expected == value)).any()
            found.append(int(wrong.sum()))
    assert max(found) <= (0 if reader == "import" else 1)
    assert len(found) == (96 if reader == "import" else 192)


def test_what_a_structure_set_says(predict, tmp_path):
    files = write_series(tmp_path / "s", volume_of_labels())
    found = pydicom.dcmread(predict(tmp_path / "s", SPACING, format="dicom-rtstruct") / "P1.dcm")
    source = pydicom.dcmread(files[0])
    for tag in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert found[tag] == source[tag]
    assert (found.Modality, found.SOPClassUID.name) == ("RTSTRUCT", "RT Structure Set Storage")
    assert [roi.ROIName for roi in found.StructureSetROISequence] == ["c1", "c2"]
    numbers = {pydicom.dcmread(file).SOPInstanceUID: number for number, file in enumerate(files)}
    for roi in found.ROIContourSequence:
        for contour in roi.ContourSequence:
            z_mm = {float(value) for value in contour.ContourData[2::3]}
            (reference,) = contour.ContourImageSequence
            assert z_mm == {140.25 + 2.5 * numbers[reference.ReferencedSOPInstanceUID]}
            assert all(len(str(value)) <= 16 for value in contour.ContourData)


@pytest.mark.parametrize("kind", ["dicom-seg", "dicom-rtstruct"])
@pytest.mark.parametrize("drift_mm", [(0.0, 1.1), (-0.8, 0.0)])
def test_tilted_series(kind, drift_mm, predict, tmp_path):
    """Slices that lie whole pixels apart: what is resampled is exact, and labels lie where the slices say."""
    image = volume_of_labels()
    expected = sitk.GetArrayFromImage(image)
    files = write_series(tmp_path / "s", image, drift_mm=drift_mm)
    nifti = sitk.ReadImage(str(predict(tmp_path / "s", SPACING, output=tmp_path / "n") / "P1.nii.gz"))
    file = predict(tmp_path / "s", SPACING, format=kind) / "P1.dcm"
    if kind == "dicom-seg":
        read, _ = read_by_dcmqi(file, tmp_path / "read")
    else:
        _, geometry = read_one(files[0])
        read = image_of(label_map([file], {"c1": 1, "c2": 2}, geometry), geometry)
    for found in (nifti, read):
        wrong = 0
        for z, y, x in np.argwhere(expected > 0).tolist():
            place = np.add(image.TransformIndexToPhysicalPoint((x, y, z)), (*np.multiply(drift_mm, z), 0))
            wrong += found[found.TransformPhysicalPointToIndex(place.tolist())] != expected[z, y, x]
        assert wrong == 0
        assert (sitk.GetArrayFromImage(found) > 0).sum() == (expected > 0).sum()


@pytest.mark.parametrize("kind", ["dicom-seg", "dicom-labelmap"])
def test_what_a_segmentation_says(kind, predict, tmp_path):
    files = write_series(
        tmp_path / "s",
        volume_of_labels(),
        PatientName="Müller^Jörg",
        StudyID="77",
        SpecificCharacterSet="ISO_IR 100",
    )
    (tmp_path / "codes.csv").write_text("label,value,scheme,meaning\nc2,10200004,SCT,Liver\n")
    file = predict(tmp_path / "s", SPACING, format=kind) / "P1.dcm"
    found, array = labels_of(file)
    np.testing.assert_array_equal(array[::-1], sitk.GetArrayFromImage(volume_of_labels())[1:6])
    source = pydicom.dcmread(files[0])
    for tag in ("PatientName", "PatientID", "StudyInstanceUID", "StudyID", "FrameOfReferenceUID"):
        assert found[tag] == source[tag]
    assert str(found.SegmentationType) == ("BINARY" if kind == "dicom-seg" else "LABELMAP")
    one, two = (found.get_segment_description(number) for number in (1, 2))
    assert (one.segment_label, two.segment_label) == ("c1", "c2")
    assert one.segmented_property_type.value == "c1"
    assert one.segmented_property_type.scheme_designator == "99SEGFLOW"
    assert (two.segmented_property_type.meaning, two.segmented_property_type.value) == ("Liver", "10200004")
    assert one.algorithm_type.value == "AUTOMATIC"
    (algorithm,) = one.algorithm_identification
    assert "segflow" in algorithm.AlgorithmName
    assert one.RecommendedDisplayCIELabValue != two.RecommendedDisplayCIELabValue
    references = {
        one.ReferencedSOPInstanceUID for one in found.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert references == {pydicom.dcmread(slice_).SOPInstanceUID for slice_ in files}
    _, described = read_by_dcmqi(file, tmp_path / "read")
    assert sorted(one["SegmentLabel"] for group in described for one in group if one["labelID"]) == [
        "c1",
        "c2",
    ]


@pytest.mark.parametrize(
    ("name", "meaning", "category"),
    [
        ("liver", "Liver", "Anatomical Structure"),
        ("left_atrium", "Left atrium", "Anatomical Structure"),
        ("Lesion", "Lesion", "Morphologically Abnormal Structure"),
        ("anterior", "anterior", "Tissue"),  # a side, no structure
    ],
)
def test_concepts_are_found_by_name(name, meaning, category):
    found_category, found = concept_of(name, {})
    assert (found.meaning, found_category.meaning) == (meaning, category)


def test_long_names_that_begin_alike_have_a_code_each():
    left, right = (concept_of(f"gluteus_maximus_{side}", {})[1].value for side in ("left", "right"))
    assert left != right
    assert len(left) == len(right) == 16


def test_regions_are_segments_that_overlap(tmp_path):
    files = write_series(tmp_path / "s", volume_of_labels())
    _, geometry = read_one(files[0])
    array = sitk.GetArrayFromImage(volume_of_labels()).astype(np.uint8)
    origin = Origin(REGIONS, "m", "d", "1")
    file = tmp_path / "r.dcm"
    write_dicom(file, "dicom-seg", array, geometry, source=files[0], origin=origin)
    masks = highdicom.seg.segread(file).get_volume(combine_segments=False).array
    np.testing.assert_array_equal(masks[::-1, ..., 0], array[1:6] > 0)
    np.testing.assert_array_equal(masks[::-1, ..., 1], array[1:6] == 2)
    with pytest.raises(PredictionError, match="the model's regions overlap; use dicom-seg"):
        write_dicom(file, "dicom-labelmap", array, geometry, source=files[0], origin=origin)


@pytest.mark.parametrize("kind", ["dicom-seg", "dicom-labelmap"])
def test_a_label_map_without_labels(kind, tmp_path):
    files = write_series(tmp_path / "s", volume_of_labels())
    _, geometry = read_one(files[0])
    origin = Origin(CLASSES, "m", "d", "1")
    empty = np.zeros((7, 9, 11), np.uint8)
    write_dicom(tmp_path / "e.dcm", kind, empty, geometry, source=files[0], origin=origin)
    assert not labels_of(tmp_path / "e.dcm")[1].any()
    write_dicom(tmp_path / "r.dcm", "dicom-rtstruct", empty, geometry, source=files[0], origin=origin)
    assert not label_map([tmp_path / "r.dcm"], {"c1": 1, "c2": 2}, geometry).any()
    assert not any("ContourSequence" in roi for roi in pydicom.dcmread(tmp_path / "r.dcm").ROIContourSequence)


def test_anonymous_series(predict, tmp_path):
    """What they lack is empty in the object too."""
    empty = (
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "StudyID",
    )
    for file in write_series(tmp_path / "s", volume_of_labels()):
        data = pydicom.dcmread(file)
        for tag in empty:
            del data[tag]
        data.save_as(file)
    (file,) = predict(tmp_path / "s", SPACING, format="dicom-seg").glob("*.dcm")
    found, array = labels_of(file)
    assert array.any()
    assert all(not found[tag].value for tag in empty)


def test_formats_that_do_not_fit(predict, tmp_path):
    sitk.WriteImage(volume_of_labels(), str(tmp_path / "a_0000.nii.gz"))
    write_series(tmp_path / "s", volume_of_labels())
    with pytest.raises(ConfigurationError, match=r"a_0000.nii.gz is no DICOM image"):
        predict(tmp_path / "a_0000.nii.gz", SPACING, format="dicom-seg")
    for output, kind in (("x.nii.gz", "dicom-seg"), ("x.dcm", "image")):
        with pytest.raises(ConfigurationError, match=r"end in .dcm if they are made with --format dicom-"):
            predict(tmp_path / "s", SPACING, output=tmp_path / output, format=kind)
    file = predict(tmp_path / "s", SPACING, output=tmp_path / "x.dcm", format="dicom-seg")
    assert labels_of(file)[1].any()
    header = "label,value,scheme,meaning\n"
    for text, said in (
        ("label,value\nc2,1\n", "codes.csv needs the columns label, value, scheme, meaning"),
        (f"{header}c3,1,SCT,Liver\n", "codes.csv: the model has no label c3; it has c1, c2"),
        (f"{header}c2,1,SCT,{65 * 'r'}\n", "codes.csv: the meaning r+ is longer than 64 letters; shorten it"),
    ):
        (tmp_path / "codes.csv").write_text(text)
        with pytest.raises(DatasetError, match=said):
            predict(tmp_path / "s", SPACING, format="dicom-seg")


@pytest.mark.parametrize("kind", ["dicom-seg", "image"])
def test_a_call_that_goes_on_heeds_other_codes(kind, predict, tmp_path):
    write_series(tmp_path / "s", volume_of_labels())
    (made,) = predict(tmp_path / "s", SPACING, format=kind).glob("P1.*")
    before = made.stat().st_mtime_ns
    (tmp_path / "codes.csv").write_text("label,value,scheme,meaning\nc2,10200004,SCT,Liver\n")
    predict(tmp_path / "s", SPACING, format=kind, resume=True)
    assert (made.stat().st_mtime_ns != before) == (kind == "dicom-seg")


@pytest.mark.data
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the DICOM files of dcmqi")
@pytest.mark.parametrize(
    ("series", "labels", "values"),
    [
        ("ct-3slice_01.dcm", "liver_seg.nrrd", {1: 107098}),
        ("ct-3slice_01.dcm", "spine_seg.nrrd", {2: 12439}),
        ("ct-3slice_01.dcm", "liver_spine_seg.nrrd", {1: 107098, 2: 12439}),
        ("ct-3slice_01.dcm", "partial_overlaps-2.nrrd", {2: 11888}),
        ("24x38x3/IMG0001.dcm", "24x38x3/label.nrrd", {1: 315}),
        ("24x38x3/mf.dcm", "24x38x3/label.nrrd", {1: 315}),
        ("23x38x3/IMG0001.dcm", "23x38x3/label.nrrd", {1: 322}),
        ("23x38x3/mf.dcm", "23x38x3/label.nrrd", {1: 322}),
    ],
)
def test_real_label_maps_come_back(series, labels, values, tmp_path):
    """Written as DICOM-SEG and as RTSTRUCT of the real series, and read by dcmqi and as by `segflow import`."""
    source = SHARED / series
    reference = sitk.ReadImage(str(SHARED / labels))
    array = sitk.GetArrayFromImage(reference)
    _, geometry = read_one(source)
    origin = Origin(CLASSES, "m", "d", "1")
    file = tmp_path / "s.dcm"
    write_dicom(file, "dicom-seg", array, geometry, source=source, origin=origin)
    read, _ = read_by_dcmqi(file, tmp_path / "read")
    same = sitk.GetArrayFromImage(
        sitk.Resample(read, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    )
    np.testing.assert_array_equal(same, array)
    assert {int(v): int((same == v).sum()) for v in np.unique(same) if v} == values
    write_dicom(file, "dicom-rtstruct", array, geometry, source=source, origin=origin)
    np.testing.assert_array_equal(label_map([file], {"c1": 1, "c2": 2}, geometry), array)
