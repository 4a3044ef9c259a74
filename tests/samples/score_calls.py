"""Calls of `segflow evaluate` on a project with label maps, and what they write."""

from __future__ import annotations

import csv
import json

import numpy as np
import SimpleITK as sitk


def write_like(file, array):
    image = sitk.ReadImage(str(file))
    changed = sitk.GetImageFromArray(array.astype(np.uint8))
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(file))


def read(file):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


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
