"""Label maps to score and to choose by: constructed ones for every branch, random ones, and real ones with errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

__all__ = ["PLANS", "SETS", "LabelMaps", "corrupted", "write_maps"]

Pair = tuple[np.ndarray, np.ndarray]

#: As much of a plan as nnU-Net asks for when it evaluates.
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
        name: Of the set.
        labels: The table of dataset.json.
        pairs: Makes (prediction, reference) pairs.
        order: regions_class_order.
        real: Whether it is made of a real data set's labels.
    """

    name: str
    labels: dict[str, Any]
    pairs: Callable[[Path | None], list[Pair]]
    order: list[int] = field(default_factory=list)
    real: bool = False

    def write(self, folder: Path, shared: Path | None) -> Path:
        """The data set's labels and the predictions; the folder of the latter."""
        write_maps(folder / "labelsTr", [reference for _, reference in self.pairs(shared)])
        write_maps(folder / "predictions", [prediction for prediction, _ in self.pairs(shared)])
        description = {
            "channel_names": {"0": "MRI"},
            "labels": self.labels,
            "numTraining": len(list((folder / "labelsTr").iterdir())),
            "file_ending": ".nii.gz",
            **({"regions_class_order": self.order} if self.order else {}),
        }
        (folder / "dataset.json").write_text(json.dumps(description))
        (folder / "plans.json").write_text(json.dumps(PLANS))
        return folder / "predictions"


def write_maps(folder: Path, maps: list[np.ndarray]) -> None:
    """As case_000.nii.gz, case_001.nii.gz, ..."""
    folder.mkdir(parents=True)
    for number, array in enumerate(maps):
        image = sitk.GetImageFromArray(array.astype(np.uint8))
        image.SetSpacing((0.8, 1.0, 2.5))
        sitk.WriteImage(image, str(folder / f"case_{number:03}.nii.gz"))


def rows(*pairs: tuple[str, str]) -> Callable[[Path | None], list[Pair]]:
    """Single rows of voxels, written as digits; blanks are for the eye."""

    def array(text: str) -> np.ndarray:
        return np.array([[[int(digit) for digit in text.replace(" ", "")]]], dtype=np.uint8)

    return lambda _: [(array(prediction), array(reference)) for prediction, reference in pairs]


def noisy(
    labels: int, *, cases: int, ignore: bool = False, seed: int = 0
) -> Callable[[Path | None], list[Pair]]:
    """Blobs of labels, with wrong voxels here and there."""

    def build(_: Path | None) -> list[Pair]:
        generator = np.random.default_rng(seed)
        found = []
        for _case in range(cases):
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
    """Nothing, everything, and what one of the two lacks; class 3 is nowhere."""
    shape = (2, 3, 4)
    empty, full, half = np.zeros(shape), np.ones(shape), np.zeros(shape)
    half[:, :, :2] = 2
    both = np.where(half > 0, half, 1)
    maps = [empty, full, half, both, 2 * full]
    return [(prediction, reference) for prediction in maps for reference in maps]


def everywhere(_: Path | None) -> list[Pair]:
    """All of the image is foreground, or ignored, or one but for a voxel."""
    shape = (2, 3, 4)
    ones, ignored = np.ones(shape), np.full(shape, 3)
    nearly = ignored.copy()
    nearly[0, 0, 0] = 1
    return [(ones, ones), (ones, ignored), (np.zeros(shape), ignored), (ones, nearly), (2 * ones, nearly)]


def hippocampus(shared: Path | None) -> list[Pair]:
    """Real labels, and what is left of them after some damage."""
    assert shared is not None
    files = sorted((shared / "data" / "hippocampus" / "labelsTr").glob("*.nii.gz"))[::26]
    generator = np.random.default_rng(0)
    references = [sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in files]
    return [(corrupted(reference, generator), reference) for reference in references]


def corrupted(reference: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Borders that moved, and specks of either class far away."""
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


def _sets() -> Iterator[LabelMaps]:
    yield LabelMaps("joint_accepted", ONE, rows(("1100010", "1100000")))
    yield LabelMaps("nothing_to_gain", TWO, rows(("1100220", "1100220")))
    yield LabelMaps("a_class_falls", TWO, rows(*JOINT_FALLS))
    yield LabelMaps("nothing_rises", ONE, rows(("1100011", "1100011")))
    yield LabelMaps("class_after_joint", TWO, rows(("11212202", "11222200")))
    yield LabelMaps("class_would_fall", TWO, rows(("1110110222", "1110110222")))
    yield LabelMaps("largest_are_two", ONE, rows(("1101101", "1100000"), ("1101100", "1100000")))
    yield LabelMaps("absent_in_some", TWO, rows(("1100010", "1100000"), ("1100220", "1100220")))
    yield LabelMaps("only_false_positives", TWO, rows(("1100020", "1100000"), ("1100220", "1100220")))
    yield LabelMaps("nested_regions", NESTED, rows(("1233300103", "1233300000")), [1, 2, 3])
    for seed in range(3):
        yield LabelMaps(f"noisy_{seed}", THREE, noisy(3, cases=3, seed=seed))
        yield LabelMaps(f"noisy_regions_{seed}", NESTED, noisy(3, cases=3, seed=seed), [1, 2, 3])
        yield LabelMaps(
            f"noisy_ignore_{seed}", {**TWO, "ignore": 3}, noisy(2, cases=3, seed=seed, ignore=True)
        )
    yield LabelMaps("hippocampus", TWO, hippocampus, real=True)
    yield LabelMaps("absent_everywhere", TWO, rows(("1100010", "1100000")))
    yield LabelMaps("extremes", THREE, extremes)
    yield LabelMaps("ignored", {**TWO, "ignore": 3}, everywhere)


SETS = {maps.name: maps for maps in _sets()}
