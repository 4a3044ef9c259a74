"""DICOM series: where slices lie, what they hold, and what is refused."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pydicom.data
import pytest
import SimpleITK as sitk
from dicom_samples import ORIENTATIONS, oriented, volume_of_labels, write_series
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from image_samples import read_one
from matplotlib.path import Path as Polygon
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

from segflow.contracts.errors import DatasetError
from segflow.images.dicom import files as dicom_files
from segflow.images.dicom import structures
from segflow.images.dicom.studies import find_images
from segflow.images.formats import companions, digest_of_image
from segflow.images.itk import image_of

SHARED = Path(__file__).parents[3] / "shared" / "data" / "dicom_seg_ct3"
OBLIQUE = Rotation.from_euler("xyz", (11, -23, 37), degrees=True).as_matrix()


def assert_same(image, geometry, other, atol):
    """An image is that which SimpleITK has read."""
    np.testing.assert_array_equal(image[0], sitk.GetArrayFromImage(other))
    np.testing.assert_allclose(geometry.origin_mm, other.GetOrigin(), atol=atol)
    np.testing.assert_allclose(geometry.file_spacing_mm, other.GetSpacing(), atol=atol)
    np.testing.assert_allclose(geometry.direction, other.GetDirection(), atol=atol)


def displaced(found, expected):
    """Voxels of the expected image that the other does not hold at the same place."""
    same = sitk.Resample(found, expected, sitk.Transform(), sitk.sitkNearestNeighbor, -99.0)
    return int((sitk.GetArrayFromImage(same) != sitk.GetArrayFromImage(expected)).sum())


@pytest.mark.parametrize("rotation", [None, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize(("order", "flips"), ORIENTATIONS)
def test_every_orientation(order, flips, rotation, tmp_path):
    image = oriented(volume_of_labels(), order, flips, rotation=rotation)
    files = write_series(tmp_path, image)
    found, geometry = read_one(files[3])
    assert displaced(image_of(found[0], geometry), image) == 0
    assert found.size == image.GetNumberOfPixels()
    assert np.linalg.det(np.reshape(geometry.direction, (3, 3))) == pytest.approx(1)
    assert not geometry.remarks


def test_as_itk_reads_it(tmp_path):
    write_series(tmp_path, oriented(volume_of_labels(), (2, 0, 1), (True, False, False), rotation=OBLIQUE))
    found, geometry = read_one(tmp_path / "IM001.dcm")
    other = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path)))
    assert_same(found, geometry, other, 1e-6)


@pytest.mark.parametrize("drift_mm", [(0.0, 1.1), (-1.6, 0.0), (0.4, -0.55)])
def test_tilted_slices_are_resampled(drift_mm, tmp_path):
    """What is linear in space stays it, and lies where it was."""
    image = oriented(volume_of_labels(), (0, 1, 2), (False,) * 3, rotation=OBLIQUE)
    z, y, x = np.indices((7, 9, 11))
    x_mm, y_mm, z_mm = 0.8 * x + drift_mm[0] * z, 1.1 * y + drift_mm[1] * z, 2.5 * z
    for values, axis in ((x_mm, 0), (y_mm, 1), (z_mm, 2)):
        volume = sitk.GetImageFromArray(values * 20)  # in steps of the stored integers
        volume.CopyInformation(image)
        folder = tmp_path / str(axis)
        write_series(folder, volume, drift_mm=drift_mm)
        found, geometry = read_one(folder / "IM001.dcm")
        assert "tilted by" in geometry.remarks[0]
        inside = found[0] > found.min()
        inside[:, :2] = inside[:, -2:] = inside[:, :, :2] = inside[:, :, -2:] = False  # mixed with the margin
        index = np.argwhere(inside)[:, ::-1]
        places = (
            index * geometry.file_spacing_mm @ np.reshape(geometry.direction, (3, 3)).T + geometry.origin_mm
        )
        along = (places - image.GetOrigin()) @ np.reshape(image.GetDirection(), (3, 3))
        expected = along[:, axis] * 20
        steps = np.array([[0.8, 0, drift_mm[0]], [0, 1.1, drift_mm[1]], [0, 0, 2.5]])
        in_slice = np.linalg.solve(steps, along.T).T[:, :2]
        sure = ((in_slice > 0.01) & (in_slice < np.array((11, 9)) - 1.01)).all(axis=1)
        assert sure.sum() > 100
        np.testing.assert_allclose(found[0][inside][sure], expected[sure], atol=0.3)


def test_names_and_numbers_do_not_matter(tmp_path):
    image = volume_of_labels()
    files = write_series(tmp_path / "a", image)
    (tmp_path / "b").mkdir()
    for number, file in enumerate(files):
        data = pydicom.dcmread(file)
        data.InstanceNumber = (5 * number) % 7
        data.save_as(tmp_path / "b" / f"{data.SOPInstanceUID}")  # no ending
    (tmp_path / "b" / "README.txt").write_text("not DICOM")
    inputs = find_images([tmp_path / "b"], ".nii.gz", 1)
    assert list(inputs.cases) == ["P1"]
    (file,) = inputs.cases["P1"].images
    np.testing.assert_array_equal(read_one(file)[0], read_one(files[0])[0])
    assert len(companions(file)) == 6
    before = digest_of_image(file)
    data = pydicom.dcmread(companions(file)[3])
    data.PixelData = bytes(len(data.PixelData))
    data.save_as(companions(file)[3])
    assert digest_of_image(file) != before


def test_rescaling_of_each_slice(tmp_path):
    files = write_series(tmp_path, volume_of_labels(), modality="MR")
    for number, file in enumerate(files):
        data = pydicom.dcmread(file)
        data.RescaleSlope, data.RescaleIntercept = 0.25 * (number + 1), number
        data.save_as(file)
    found, _ = read_one(files[0])
    stored = (sitk.GetArrayFromImage(volume_of_labels()) + 8) / 0.5
    expected = stored * (0.25 * np.arange(1, 8))[:, None, None] + np.arange(7)[:, None, None]
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def multiframe(folder, image):
    """The series as one file, as of an enhanced scanner; the frames in a random order."""
    datasets = [pydicom.dcmread(file) for file in write_series(folder / "single", image)]
    datasets = [datasets[i] for i in np.random.default_rng(0).permutation(len(datasets))]
    made = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        datasets, generate_uid(), 9, generate_uid(), 1, transfer_syntax_uid=ExplicitVRLittleEndian
    )
    file = folder / "frames.dcm"
    made.save_as(file)
    return file


def test_a_multiframe_file(tmp_path):
    image = oriented(volume_of_labels(), (1, 2, 0), (False, True, False), rotation=OBLIQUE)
    file = multiframe(tmp_path, image)
    found, geometry = read_one(file)
    expected, same = read_one(tmp_path / "single" / "IM001.dcm")
    np.testing.assert_array_equal(found, expected)
    assert geometry == same
    assert companions(file) == ()


@pytest.mark.parametrize(
    "name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEG-LL.dcm"]
)
def test_compressed_voxels(name, tmp_path):
    """Of pydicom's own test files; lossless JPEG, which most archives use, is made here."""
    folder = Path(pydicom.data.__file__).parent / "test_files"
    plain = folder / "MR_small.dcm"
    file = shutil.copy(plain, tmp_path / "a.dcm")
    expected, _ = read_one(tmp_path / "a.dcm")
    if name == "JPEG-LL.dcm":
        gdcm = pytest.importorskip("gdcm")
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(plain))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(file))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        assert "JPEG Lossless" in pydicom.dcmread(file).file_meta.TransferSyntaxUID.name
    else:
        shutil.copy(folder / name, file)
    np.testing.assert_array_equal(read_one(file)[0], expected)


def test_a_single_slice(tmp_path):
    image = volume_of_labels()[:, :, 2:3]
    (file,) = write_series(tmp_path, image)
    found, geometry = read_one(file)
    assert (found.shape, geometry.file_dimensions, geometry.file_spacing_mm) == (
        (1, 1, 9, 11),
        3,
        (0.8, 1.1, 2.5),
    )


def changed(file, **tags):
    data = pydicom.dcmread(file)
    for tag, value in tags.items():
        setattr(data, tag, value)
    data.save_as(file)


def two_echoes(files):
    for file in files:
        data = pydicom.dcmread(file)
        data.EchoTime, data.SOPInstanceUID = 80, generate_uid()
        changed(file, EchoTime=20)
        data.save_as(file.with_name(f"b{file.name}"))


FAULTS = {
    "missing": (
        lambda files: files[3].unlink(),
        "2.5 mm apart, but 5 mm lie between IM003.dcm and IM005.dcm (1 missing)",
    ),
    "twice": (
        lambda files: shutil.copy(files[2], files[2].with_name("copy.dcm")),
        "several images at the same place, such as IM003.dcm and copy.dcm; keep",
    ),
    "echoes": (two_echoes, "such as IM001.dcm and bIM001.dcm (EchoTime 20.0 and 80.0); keep the slices of one"),
    "uneven": (
        lambda files: changed(files[6], ImagePositionPatient=[-31.0, 12.5, 156.25]),
        "3.5 mm lie between IM006.dcm and IM007.dcm (uneven)",
    ),
    "localiser": (
        lambda files: changed(files[4], ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
        "IM001.dcm and IM005.dcm are not parallel",
    ),
    "shifted": (
        lambda files: changed(files[4], ImagePositionPatient=[-28.0, 12.5, 150.25]),
        "are shifted against each other by 3 mm",
    ),
    "pixels": (
        lambda files: changed(files[4], PixelSpacing=[2, 2]),
        "and IM005.dcm have pixels of another size or number",
    ),
    "sheared": (
        lambda files: [changed(file, ImageOrientationPatient=[1, 0, 0, 0.2, 1, 0]) for file in files],
        "is no pair of perpendicular unit vectors",
    ),
    "cut short": (
        lambda files: files[5].write_bytes(files[5].read_bytes()[:-60]),
        "IM006.dcm cannot be read as DICOM (",
    ),
    "empty": (lambda files: files[5].write_bytes(b""), "IM006.dcm is no DICOM file, or its beginning is lost"),
    "colours": (lambda files: [changed(file, SamplesPerPixel=3) for file in files], "is a colour image"),
    "rows": (lambda files: changed(files[5], Rows=8), "and IM006.dcm have pixels of another size or number"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(fault, tmp_path):
    files = write_series(tmp_path, volume_of_labels())
    damage, words = FAULTS[fault]
    damage(files)
    with pytest.raises(DatasetError) as refused:
        read_one(files[0])
    message = str(refused.value)
    assert words in message
    assert message.startswith("case a: ")
    assert len(message.splitlines()) == 1


def study(folder):
    """Two series of one study, one of another time point, and a report."""
    image, same = volume_of_labels(), generate_uid()
    write_series(folder / "a", image, SeriesNumber=2, SeriesDescription="T1", StudyInstanceUID=same)
    write_series(folder / "b", image, SeriesNumber=5, SeriesDescription="T2", StudyInstanceUID=same)
    write_series(folder / "c", image, SeriesNumber=2, SeriesDescription="T1", StudyDate="20270304")
    (file,) = write_series(folder / "d", image[:, :, :1], Modality="SR")
    changed(file, Rows=None)


def test_series_are_listed_and_chosen(tmp_path):
    study(tmp_path)
    with pytest.raises(
        DatasetError, match="there are 3 series; choose one with --series NUMBER or UID"
    ) as refused:
        find_images([tmp_path], ".nii.gz", 1)
    lines = str(refused.value).splitlines()[1:]
    assert [line.split(", 1.2")[0] for line in lines] == [
        "  2: CT T1, 7 slices, study of 20260102 101112, patient P1",
        "  5: CT T2, 7 slices, study of 20260102 101112, patient P1",
        "  2: CT T1, 7 slices, study of 20270304 101112, patient P1",
    ]
    uid = lines[2].rsplit(", ", 1)[1]
    assert list(find_images([tmp_path], ".nii.gz", 1, series=["5"]).cases) == ["P1"]
    assert list(find_images([tmp_path], ".nii.gz", 1, series=["5", uid]).cases) == [
        "P1_20260102",
        "P1_20270304",
    ]
    both = find_images([tmp_path], ".nii.gz", 2, series=["5", uid])
    assert [file.parent.name for file in both.cases["P1"].images] == ["b", "c"]
    for wanted, words in ((["2"], "fits 2 of the series"), (["9"], "fits none of the series")):
        with pytest.raises(DatasetError, match=words):
            find_images([tmp_path], ".nii.gz", 1, series=wanted)
    with pytest.raises(DatasetError, match="choose 2, in the order of the channels"):
        find_images([tmp_path], ".nii.gz", 2)
    write_series(tmp_path / "e", volume_of_labels(), SeriesNumber=7, PatientID="P2")
    with pytest.raises(DatasetError, match="the named series are of several patients") as refused:
        find_images([tmp_path], ".nii.gz", 2, series=["5", "7"])
    assert len(str(refused.value).splitlines()) == 3
    (tmp_path / "b").rename(tmp_path / "two")
    (tmp_path / "c").rename(tmp_path / "two" / "c")
    with pytest.raises(DatasetError, match="there are 2 series; choose 2, in the order of the channels"):
        find_images([tmp_path / "two"], ".nii.gz", 2)
    with pytest.raises(DatasetError, match="1 series are named, but the model has 2 channels"):
        find_images([tmp_path], ".nii.gz", 2, series=["5"])


def test_several_volumes_of_one_series_are_named_by_their_files(tmp_path):
    files = [multiframe(tmp_path / name, volume_of_labels()) for name in "ab"]
    changed(files[1], SeriesInstanceUID=pydicom.dcmread(files[0]).SeriesInstanceUID)
    with pytest.raises(DatasetError, match=r"has 2 files with a volume each; name one of them") as refused:
        find_images([tmp_path], ".nii.gz", 1, series=["9"])
    assert {line.strip() for line in str(refused.value).splitlines()[1:]} == {*map(str, files)}


def test_a_series_in_two_folders(tmp_path):
    files = write_series(tmp_path / "a", volume_of_labels())
    (tmp_path / "b").mkdir()
    files[6].rename(tmp_path / "b" / files[6].name)
    with pytest.raises(DatasetError, match=r"lie in .*/a and .*/b; put them into one folder"):
        find_images([tmp_path], ".nii.gz", 1, series=["3"])


def test_folders_without_images(tmp_path):
    with pytest.raises(DatasetError, match=r"--series chooses among DICOM series, but .* holds none"):
        find_images([tmp_path], ".nii.gz", 1, series=["1"])
    (file,) = write_series(tmp_path, volume_of_labels()[:, :, :1])
    changed(file, ImagePositionPatient=None)
    with pytest.raises(DatasetError, match=r"holds DICOM files \(CT\), but no image with a position"):
        find_images([tmp_path], ".nii.gz", 1)


def test_files_are_their_series(tmp_path):
    files = write_series(tmp_path, volume_of_labels())
    (case,) = find_images(files[2:4], ".nii.gz", 1).cases.values()
    assert read_one(case.images[0])[0].shape == (1, 7, 9, 11)


def test_the_libraries_are_named(tmp_path, monkeypatch):
    files = write_series(tmp_path, volume_of_labels())
    monkeypatch.setitem(sys.modules, "highdicom", None)
    dicom_files._read_headers.cache_clear()
    with pytest.raises(DatasetError, match=r"need the package highdicom: pip install 'segflow\[dicom\]'"):
        find_images(files, ".nii.gz", 1)


@pytest.mark.data
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the DICOM files of dcmqi")
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("ct-3slice_02.dcm", (3, 512, 512)),
        ("24x38x3/IMG0003.dcm", (3, 38, 24)),
        ("24x38x3/mf.dcm", (3, 38, 24)),
        ("23x38x3/IMG0001.dcm", (3, 38, 23)),
        ("23x38x3/mf.dcm", (3, 38, 23)),
    ],
)
def test_real_files(name, shape):
    """As SimpleITK reads the same slices, which are given to it in the order of their positions."""
    found, geometry = read_one(SHARED / name)
    assert found.shape[1:] == shape
    folder = (SHARED / name).parent
    files = sorted(folder.glob("ct-3*.dcm" if folder == SHARED else "IMG*.dcm"))
    files.sort(key=lambda file: pydicom.dcmread(file, stop_before_pixels=True).ImagePositionPatient[2])
    other = sitk.ReadImage([str(file) for file in files])
    assert_same(found, geometry, other, 1e-4)


@given(hnp.arrays(np.bool_, (9, 10), elements=st.booleans()))
def test_contours_hold_exactly_the_voxels_of_a_mask(plane):
    """With holes, islands in them, corners that touch: the centres inside of an odd number of contours."""
    found = np.zeros(plane.shape, bool)
    y, x = np.indices(plane.shape)
    for points in structures._polygons(plane):
        inside = Polygon(points).contains_points(np.column_stack([x.ravel(), y.ravel()]))
        found ^= inside.reshape(plane.shape)
    np.testing.assert_array_equal(found, plane)
