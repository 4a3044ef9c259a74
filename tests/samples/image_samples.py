"""Names of a small data set's files, and ways to save and read an image."""

from __future__ import annotations

import struct

import numpy as np
import SimpleITK as sitk

from segflow.contracts.errors import DatasetError
from segflow.images.cases import read_image

DESCRIPTION = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "organ": 1, "lesion": 2},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}
IMAGES = ("imagesTr/a_0000", "imagesTr/a_0001", "imagesTr/b_0000", "imagesTr/b_0001")
FILES = (*IMAGES, "labelsTr/a", "labelsTr/b")


def save(path, array, spacing_mm=None, *, is_vector=False, compressed=False):
    """Write an array with SimpleITK; the spacing is in the order of the array's axes."""
    image = sitk.GetImageFromArray(np.asarray(array), isVector=is_vector)
    if spacing_mm is not None:
        image.SetSpacing(spacing_mm[::-1])
    sitk.WriteImage(image, str(path), useCompression=compressed)
    return path


def read_one(file):
    """The image and the geometry of one file."""
    return read_image([file], case="a")


def noise(shape, kind="uint8", high=200):
    """Whole numbers from 0, of which booleans are whether they are odd."""
    array = np.random.default_rng(0).integers(0, high, shape)
    return (array % 2 if kind == "bool" else array).astype(kind)


def patch(file, *values, order="<"):
    """Replace fields of a file that is not compressed: each is a place, a format and its numbers."""
    content = bytearray(file.read_bytes())
    for place, kind, *numbers in values:
        struct.pack_into(f"{order}{kind}", content, place, *numbers)
    file.write_bytes(content)
    return file


def refused_cuts(file, data, cuts):
    """What is said of a file at the cuts of its data, unless that is read as before, which may miss its last bytes."""
    image, content, refused = read_one(file)[0], data.read_bytes(), []
    for cut in cuts:
        data.write_bytes(content[:cut])
        try:
            found, _ = read_one(file)
        except DatasetError as problem:
            refused.append(str(problem))
            assert refused[-1].startswith(f"case a: cannot read {file}: ")
        else:
            np.testing.assert_array_equal(found, image, err_msg=f"cut at {cut} of {len(content)}")
    return refused


def somewhere(folder, ending, axes, seed, *, kind="rotated"):
    """A file with an image that is rotated or flipped, and away from the origin."""
    generator = np.random.default_rng(seed)
    image = sitk.GetImageFromArray(generator.integers(0, 99, (3, 4, 5)[-axes:]).astype(np.int16))
    image.SetSpacing(generator.uniform(0.3, 5, axes).tolist())
    image.SetOrigin((100 * generator.normal(size=axes)).tolist())
    direction = np.diag(generator.choice([-1.0, 1.0], axes))
    if kind == "rotated":
        direction, _ = np.linalg.qr(generator.normal(size=(axes, axes)))
        direction *= np.sign(np.linalg.det(direction)) if axes == 3 else 1
    image.SetDirection(direction.ravel().tolist())
    folder.mkdir(exist_ok=True)
    path = folder / f"a_0000{ending.lower()}"
    sitk.WriteImage(image, str(path))
    return path.rename(folder / f"a_0000{ending}")
