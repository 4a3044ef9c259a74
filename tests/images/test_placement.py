"""Where NIfTI images lie: the numbers of SimpleITK without SimpleITK, and what is said of contradictions."""

from __future__ import annotations

import gzip
from random import Random

import nibabel
import numpy as np
import pytest
from image_samples import read_one, save

from fuzz import nifti as random_nifti
from segflow.contracts.case import Case
from segflow.contracts.errors import DatasetError
from segflow.images import itk, nifti
from segflow.images.cases import read_case, read_geometry, write_labels
from segflow.images.placement import placed

ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
ROTATED = np.array([[0, -1.5, 0], [0.5, 0, 0], [0, 0, 2]])


def test_placements_are_those_of_simpleitk_to_the_last_bit(tmp_path):
    """Most without its help: in a few, the choice between qform and sform hangs on its rounding errors."""
    file, counts = tmp_path / "a_0000.nii", {"alone": 0, "with help": 0, "sheared": 0}
    for seed in range(600):
        file.write_bytes(random_nifti.make(Random(seed)))
        try:
            theirs = itk.read_geometry(file)
        except ValueError:
            counts["sheared"] += 1
            continue
        ours = nifti.read_geometry(file)
        assert repr(ours.model_copy(update={"nifti_placement": "", "remarks": ()})) == repr(theirs)
        header = nibabel.Nifti1Image.from_filename(file).header
        counts["alone" if placed(header, nifti._sizes(header)) else "with help"] += 1
    assert counts["alone"] > 300
    assert min(counts.values()) > 0


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_simpleitk_is_not_asked_about_usual_files(ending, tmp_path, monkeypatch):
    file = save(tmp_path / f"a_0000{ending}", ARRAY, (2, 1, 0.5))
    expected = itk.read_geometry(file)
    monkeypatch.setattr(itk, "_execute", None)
    monkeypatch.setattr(nifti, "contained", None)
    image, geometry = read_one(file)
    np.testing.assert_array_equal(image[0], ARRAY)
    assert geometry.model_copy(update={"nifti_placement": ""}) == expected


def made(path, affine=ROTATED, *, kind=nibabel.Nifti1Image, qform=0, sform=1, array=ARRAY, **fields):
    """A file with a placement; further fields of its header are set at the end."""
    image = kind(array.T, nibabel.affines.from_matvec(affine, [1, -2, 3]))
    image.set_qform(image.affine, qform, strip_shears=True)
    image.set_sform(image.affine, sform)
    content = image.to_bytes()
    header = type(image.header)(content[: len(image.header.binaryblock)])
    for name, value in fields.items():
        header[name] = value
    content = header.binaryblock + content[len(header.binaryblock) :]
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def remarks_of(file):
    return read_case(Case("a", (file,)), channels=1).warnings


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image], ids=["1", "2"])
@pytest.mark.parametrize("amount", [0.0, 1.6e-4, 5e-4], ids=["perpendicular", "rounded", "sheared"])
@pytest.mark.parametrize("qform", [0, 1])
def test_axes_that_are_sheared(kind, amount, qform, tmp_path):
    lean = np.array([[1, amount / 2, 0], [amount / 2, 1, 0], [0, 0, 1]])
    affine = lean @ np.diag([1, 2, 3])
    file = made(tmp_path / "a_0000.nii.gz", affine, kind=kind, qform=qform)
    if amount == 5e-4 and not qform:
        with pytest.raises(DatasetError, match=r"sheared by 5\.0e-04 .*, and it has no qform: resample it"):
            read_one(file)
        return
    said = [line for line in remarks_of(file) if "sheared" in line]
    assert len(said) == (amount > 0)
    if said:
        assert f"sheared by {amount:.1e}" in said[0]
        assert said[0].endswith("its qform counts" if qform else "that is taken for rounding")
    _, geometry = read_one(file)
    np.testing.assert_allclose(np.reshape(geometry.direction, (3, 3)), np.diag([-1, -1, 1]), atol=amount)
    write_labels(tmp_path / "a.nii.gz", np.ones(geometry.shape, np.uint8), geometry)
    assert read_geometry(tmp_path / "a.nii.gz", case="a") == geometry


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("qform", "sform"), [(0, 0), (1, 0), (0, 2), (3, 4)])
def test_nifti_2_is_read_and_written_as_nifti_1_is(ending, qform, sform, tmp_path):
    """SimpleITK does not read it."""
    first = made(tmp_path / "a_0000.nii", qform=qform, sform=sform)
    expected_image, expected = read_one(first)
    second = made(tmp_path / f"b_0000{ending}", kind=nibabel.Nifti2Image, qform=qform, sform=sform)
    image, geometry = read_one(second)
    np.testing.assert_array_equal(image, expected_image)
    np.testing.assert_allclose(geometry.direction, expected.direction, atol=1e-7)
    np.testing.assert_allclose(geometry.origin_mm, expected.origin_mm, atol=1e-6)
    assert geometry.spacing_mm == expected.spacing_mm
    labels = tmp_path / f"b{ending}"
    write_labels(labels, np.ones(geometry.shape, np.uint8), geometry)
    assert read_geometry(labels, case="b") == geometry
    written, source = (nibabel.load(file).header for file in (labels, second))
    assert type(written) is nibabel.Nifti2Header
    for name in ("qform_code", "sform_code", "quatern_b", "qoffset_x", "srow_x", "srow_y", "xyzt_units"):
        np.testing.assert_array_equal(written[name], source[name])
    np.testing.assert_array_equal(written["pixdim"][:4], source["pixdim"][:4])
    np.testing.assert_array_equal(nibabel.load(labels).dataobj, np.ones(ARRAY.T.shape))


@pytest.mark.parametrize(
    ("fields", "array"),
    [({"scl_slope": 2, "scl_inter": -1}, ARRAY), ({"scl_slope": 0.5}, ARRAY.astype(np.float32))],
    ids=["integers", "floats"],
)
def test_scaled_values_of_nifti_2(fields, array, tmp_path):
    file = made(tmp_path / "a_0000.nii", kind=nibabel.Nifti2Image, array=array, **fields)
    np.testing.assert_array_equal(read_one(file)[0][0].T, np.asarray(nibabel.load(file).dataobj))


@pytest.mark.parametrize(
    "fields",
    [{"pixdim": [1, -1, 1, 1, 1, 1, 1, 1]}, {"datatype": 32, "bitpix": 64}, {"intent_code": 1007}],
    ids=["mirrored", "complex", "vectors"],
)
def test_what_is_not_read_of_nifti_2(fields, tmp_path):
    file = made(tmp_path / "a_0000.nii", kind=nibabel.Nifti2Image, array=np.zeros((3, 4, 5)), **fields)
    with pytest.raises(
        DatasetError, match=r"case a: cannot read .*: it is NIfTI-2, of which .*; save it as NIfTI-1"
    ):
        read_one(file)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"qform_code": 2, "qoffset_x": 1.01}, []),  # another space
        ({"qoffset_x": 1.01}, []),  # a hundredth of a voxel
        ({"qoffset_x": 11}, ["both of code 1, place it up to 10 mm apart; label maps get both as they are"]),
        ({"quatern_b": 1, "quatern_c": 0, "quatern_d": 0}, ["both of code 1, place it up to "]),
        (
            {"pixdim": [1, 3, 1.5, 2, 1, 1, 1, 1]},
            ["measure 3 x 1.5 x 2 mm, and its sform 0.5 x 1.5 x 2 mm: pixdim counts", "both of code 1"],
        ),
        ({"pixdim": [1, 0.5, 1.5, 2.002, 1, 1, 1, 1], "qform_code": 0}, ["measure 0.5 x 1.5 x 2.002 mm"]),
    ],
    ids=str,
)
def test_contradictions_are_said_with_their_size(fields, expected, tmp_path):
    file = made(tmp_path / "a_0000.nii", qform=1, **fields)
    said = remarks_of(file)
    assert len(said) == len(expected)
    for line, words in zip(said, expected, strict=True):
        assert line.startswith(f"case a: {file}: its ")
        assert words in line


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image], ids=["1", "2"])
@pytest.mark.parametrize(
    "fields", [{"scl_slope": 1, "scl_inter": np.nan}, {"scl_slope": np.nan, "scl_inter": 0}]
)
def test_a_scaling_that_is_none(kind, fields, tmp_path):
    file = made(tmp_path / "a_0000.nii", kind=kind, **fields)
    np.testing.assert_array_equal(read_one(file)[0][0], ARRAY)
