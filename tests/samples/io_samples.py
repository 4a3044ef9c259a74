"""What the tests of this folder read: names of a small data set's files, and a way to save an image."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

DESCRIPTION = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "organ": 1, "lesion": 2},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}
FILES = (
    "imagesTr/a_0000",
    "imagesTr/a_0001",
    "imagesTr/b_0000",
    "imagesTr/b_0001",
    "labelsTr/a",
    "labelsTr/b",
)


def save(path, array, spacing_mm=(1.0, 1.0, 1.0), *, is_vector=None):
    image = sitk.GetImageFromArray(np.asarray(array), isVector=is_vector)
    image.SetSpacing(spacing_mm[::-1][: image.GetDimension()])
    sitk.WriteImage(image, str(path))
    return path
