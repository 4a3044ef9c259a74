"""NIfTI files with random headers, read by segflow, SimpleITK and nibabel: voxels and geometry agree."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

import nibabel
import numpy as np

from segflow.images import itk
from segflow.images.cases import read_image
from segflow.images.contained import contained

TYPES = ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")


def make(random: Random) -> bytes:
    """A NIfTI-1 file whose header is odd, but can be right."""
    numbers = np.random.default_rng(random.getrandbits(64))
    order, axes = random.choice("<>"), random.choice((2, 3, 3, 3, 4))
    shape = [random.randint(1, 5) for _ in range(axes)]
    dtype = np.dtype(random.choice(TYPES)).newbyteorder(order)
    header: Any = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header["pixdim"] = [
        random.choice((-1, 1, 0)),
        *(random.choice((1, random.uniform(0.1, 9))) for _ in range(7)),
    ]
    header["vox_offset"] = random.choice((352, 352, 368))
    header["magic"] = b"n+1"
    header["xyzt_units"] = random.choice((0, 2, 10, 1, 3, 255))
    header["scl_slope"], header["scl_inter"] = random.choice(
        ((1, 0), (1, 0), (0, 0), (2, 0), (0.5, -3), (math.nan,) * 2)
    )
    _place(header, random, numbers)
    voxels = numbers.integers(0, 100, math.prod(shape)).astype(dtype)
    return bytes(header.binaryblock.ljust(int(header["vox_offset"]), b"\0") + voxels.tobytes())


def _place(header: Any, random: Random, numbers: np.random.Generator) -> None:
    """Fill qform and sform in, alike or not."""
    for form in ("qform_code", "sform_code"):
        header[form] = random.choice((0, 1, 1, 2, 4, 5))
    vector = numbers.normal(size=3)
    vector *= random.choice((0, random.uniform(0, 1), 1)) / np.linalg.norm(vector)
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = vector
    for axis, value in zip("xyz", 100 * numbers.normal(size=3), strict=True):
        header[f"qoffset_{axis}"] = value
    rotation, _ = np.linalg.qr(numbers.normal(size=(3, 3)))
    rotation = random.choice((rotation, np.eye(3)[numbers.permutation(3)]))
    scales = random.choice((header["pixdim"][1:4], numbers.uniform(0.1, 9, 3)))
    affine = rotation * scales * numbers.choice([-1, 1], 3)
    shift = 10 ** random.choice((2, 2, 3, 5, 7)) * numbers.normal(size=3)
    if random.random() < 0.3:  # the qform of the same place, and so the voxel size
        header.set_qform(
            nibabel.affines.from_matvec(affine, shift), int(header["qform_code"]), strip_shears=True
        )
    affine = affine + random.choice((0, 0, 0, 1e-7, 1e-6, 1e-5, 3e-5, 5e-5, 1e-4, 1e-2)) * numbers.normal(
        size=(3, 3)
    )
    shift = shift.ravel() * random.choice((0, 1, 1, 1 + 1e-6))
    for axis, row, value in zip("xyz", affine, shift, strict=True):
        header[f"srow_{axis}"] = [*row, value]


def compare(file: Path) -> None:
    """Read a file in three ways.

    Raises:
        DatasetError: segflow refuses it.
        AssertionError: Libraries read something else than segflow.
    """
    image, geometry = read_image([file], case="a")
    try:
        theirs = contained(itk.read_geometry, file)
    except ValueError as problem:
        assert "sheared" in str(geometry.remarks), f"SimpleITK refuses it: {problem}"
    else:
        ours = geometry.model_copy(update={"nifti_placement": "", "remarks": ()})
        assert repr(ours) == repr(theirs), f"SimpleITK: {theirs}"
        if geometry.file_dimensions == 3 or abs(np.linalg.det(np.reshape(geometry.direction, (2, 2)))) > 1e-3:
            np.testing.assert_allclose(image, itk.read_voxels(file), rtol=1e-6, err_msg="SimpleITK")
    array = np.asarray(nibabel.Nifti1Image.from_filename(file).dataobj)
    array = array.reshape(*array.shape, *[1] * (3 - array.ndim)).T
    np.testing.assert_allclose(np.squeeze(image), np.squeeze(array), rtol=1e-6, err_msg="nibabel")
