"""Calls of `segflow evaluate` on a project with label maps, and what they write."""

from __future__ import annotations

import csv
import json

import numpy as np
import SimpleITK as sitk
import tifffile

from segflow.images.cases import read_geometry, write_labels


def write_like(file, array):
    image = sitk.ReadImage(str(file))
    changed = sitk.GetImageFromArray(array.astype(np.uint8))
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(file))


def read(file):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


def as_stacks(data, *label_maps):
    """Rewrite a data set as TIFF files without a spacing, and folders of label maps as segflow writes such."""
    for file in sorted(data.glob("*Tr/*.nii.gz")):
        tifffile.imwrite(str(file).replace(".nii.gz", ".tif"), read(file))
        file.unlink()
    description = json.loads((data / "dataset.json").read_text())
    (data / "dataset.json").write_text(json.dumps(description | {"file_ending": ".tif"}))
    for file in (file for folder in label_maps for file in sorted(folder.glob("*.nii.gz"))):
        name = file.name.removesuffix(".nii.gz")
        geometry = read_geometry(data / "imagesTr" / f"{name}_0000.tif", case=name)
        write_labels(file.with_name(f"{name}.tif"), read(file), geometry)
        file.unlink()


def words(folder, *others):
    return [
        "evaluate", "--predictions", folder / "predictions", "--dataset", folder / "data" / "dataset.json",
        "--output", folder / "evaluation" / "2d" / "summary.json", "--workers", 1, *others,
    ]  # fmt: skip


def summary_of(folder):
    return json.loads((folder / "evaluation" / "2d" / "summary.json").read_text())


def rows_of(folder):
    with (folder / "evaluation" / "2d" / "summary.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))
