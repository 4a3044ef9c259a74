"""Label maps for scores and choices: constructed ones for every branch, random ones, and real ones with errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

Pair = tuple[np.ndarray, np.ndarray]

#: As much of a plan as nnU-Net needs for an evaluation.
PLANS = {
    "dataset_name": "Dataset901_maps",
    "plans_name": "nnUNetPlans",
    "image_reader_writer": "SimpleITKIO",
    "label_manager": "LabelManager",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "configurations": {name: {"architecture": {}} for name in ("2d", "3d_fullres")},
}


@dataclass(frozen=True)
class LabelMaps:
    """Predictions and references of one data set.

    Attributes:
        labels: The table of dataset.json.
        pairs: Makes (prediction, reference) pairs.
        order: regions_class_order.
        real: Whether it is made from a real data set's labels.
    """

    labels: dict[str, Any]
    pairs: Callable[[Path | None], list[Pair]]
    order: list[int] = field(default_factory=list)
    real: bool = False

    def write(self, folder: Path, shared: Path | None) -> None:
        """Write the data set's labels, and the predictions in a folder per program."""
        predictions, references = zip(*self.pairs(shared), strict=True)
        for name, maps in (("labelsTr", references), ("ours", predictions), ("theirs", predictions)):
            write_maps(folder / name, maps)
        description = {
            "channel_names": {"0": "MRI"},
            "labels": self.labels,
            "numTraining": len(references),
            "file_ending": ".nii.gz",
            **({"regions_class_order": self.order} if self.order else {}),
        }
        (folder / "dataset.json").write_text(json.dumps(description))
        (folder / "plans.json").write_text(json.dumps(PLANS))


def write_maps(folder: Path, maps: Sequence[np.ndarray]) -> None:
    """As case_000.nii.gz, case_001.nii.gz, ..."""
    folder.mkdir(parents=True)
    for number, array in enumerate(maps):
        image = sitk.GetImageFromArray(array.astype(np.uint8))
        image.SetSpacing((0.8, 1.0, 2.5))
        sitk.WriteImage(image, str(folder / f"case_{number:03}.nii.gz"))


def rows(*pairs: tuple[str, str]) -> Callable[[Path | None], list[Pair]]:
    """Single rows of voxels, as digits."""

    def array(text: str) -> np.ndarray:
        return np.array([[[int(digit) for digit in text]]], dtype=np.uint8)

    return lambda _: [(array(prediction), array(reference)) for prediction, reference in pairs]


def noisy(labels: int, *, ignore: bool = False, seed: int = 0) -> Callable[[Path | None], list[Pair]]:
    """Three cases of blobs of labels, with some wrong voxels."""

    def build(_: Path | None) -> list[Pair]:
        generator = np.random.default_rng(seed)
        found = []
        for _case in range(3):
            reference = np.zeros((5, 12, 14), dtype=np.uint8)
            inside = reference[1:4, 3:9, 3:11]
            inside[...] = np.argmax(
                [ndimage.gaussian_filter(generator.normal(size=inside.shape), 1.5) for _ in range(labels)], axis=0
            ) + 1  # fmt: skip
            noise = generator.integers(0, labels + 1, reference.shape)
            wrong = ndimage.gaussian_filter(generator.normal(size=reference.shape), 0.7)
            prediction = np.where(wrong > np.quantile(wrong, 0.9), noise, reference)
            if ignore:
                reference[generator.random(reference.shape) < 0.1] = labels + 1
            found.append((prediction.astype(np.uint8), reference))
        return found

    return build


def extremes(_: Path | None) -> list[Pair]:
    """Empty, full and partly filled maps in all pairs; class 3 does not occur."""
    shape = (2, 3, 4)
    empty, full, half = np.zeros(shape), np.ones(shape), np.zeros(shape)
    half[:, :, :2] = 2
    both = np.where(half > 0, half, 1)
    maps = [empty, full, half, both, 2 * full]
    return [(prediction, reference) for prediction in maps for reference in maps]


def everywhere(_: Path | None) -> list[Pair]:
    """Maps that are all foreground, all ignored, or all but one voxel."""
    shape = (2, 3, 4)
    ones, ignored = np.ones(shape), np.full(shape, 3)
    nearly = ignored.copy()
    nearly[0, 0, 0] = 1
    return [(ones, ones), (ones, ignored), (np.zeros(shape), ignored), (ones, nearly), (2 * ones, nearly)]


def hippocampus(shared: Path | None) -> list[Pair]:
    """Real labels, and the same with moved borders and distant specks."""
    assert shared is not None
    files = sorted((shared / "data" / "hippocampus" / "labelsTr").glob("*.nii.gz"))[::26]
    generator = np.random.default_rng(0)
    references = [sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in files]
    return [(_corrupted(reference, generator), reference) for reference in references]


def _corrupted(reference: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    moved = [
        ndimage.gaussian_filter((reference == value) + 0.0, 1.0)
        + ndimage.gaussian_filter(generator.normal(0, 0.9, reference.shape), 1.2)
        for value in range(int(reference.max()) + 1)
    ]
    return np.argmax(moved, axis=0).astype(np.uint8)


ONE = {"background": 0, "a": 1}
TWO = {"background": 0, "a": 1, "b": 2}
THREE = {**TWO, "c": 3}
NESTED = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "top": 3}
JOINT_FALLS = [("1111010101010200", "1111000000000200")] + 3 * [("11220101010101", "11220000000000")]


SETS = {
    "joint_accepted": LabelMaps(ONE, rows(("1100010", "1100000"))),
    "nothing_to_gain": LabelMaps(TWO, rows(("1100220", "1100220"))),
    "a_class_falls": LabelMaps(TWO, rows(*JOINT_FALLS)),
    "nothing_rises": LabelMaps(ONE, rows(("1100011", "1100011"))),
    "class_after_joint": LabelMaps(TWO, rows(("11212202", "11222200"))),
    "class_would_fall": LabelMaps(TWO, rows(("1110110222", "1110110222"))),
    "largest_are_two": LabelMaps(ONE, rows(("1101101", "1100000"), ("1101100", "1100000"))),
    "absent_in_some": LabelMaps(TWO, rows(("1100010", "1100000"), ("1100220", "1100220"))),
    "only_false_positives": LabelMaps(TWO, rows(("1100020", "1100000"), ("1100220", "1100220"))),
    "nested_regions": LabelMaps(NESTED, rows(("1233300103", "1233300000")), [1, 2, 3]),
    **{f"noisy_{seed}": LabelMaps(THREE, noisy(3, seed=seed)) for seed in range(3)},
    **{f"noisy_regions_{seed}": LabelMaps(NESTED, noisy(3, seed=seed), [1, 2, 3]) for seed in range(3)},
    **{
        f"noisy_ignore_{seed}": LabelMaps({**TWO, "ignore": 3}, noisy(2, seed=seed, ignore=True))
        for seed in range(3)
    },
    "hippocampus": LabelMaps(TWO, hippocampus, real=True),
    "absent_everywhere": LabelMaps(TWO, rows(("1100010", "1100000"))),
    "extremes": LabelMaps(THREE, extremes),
    "ignored": LabelMaps({**TWO, "ignore": 3}, everywhere),
}
