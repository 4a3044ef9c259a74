"""Random cases: adjacent blobs of labels in an ellipsoid, with zeros around it and a few inside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

OBLIQUE = (0.0, -1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Case:
    """Size and spacing along z, y, x, and what is unusual about the case."""

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    kind: str = ""


@dataclass(frozen=True)
class Style:
    """What the cases of a data set have in common.

    Attributes:
        n_labels: Number of foreground labels.
        grain: Size of the blobs, in 40ths of the image.
        reach: Radius of the ellipsoid. At 0.9 the crop leaves so little that z-scores are those of its inside.
        channels: Their names.
        dtype, ending: Of the image files.
        regions, ignore: Which kinds of targets there are.
        oblique: Whether the axes of the files are rotated.
    """

    n_labels: int = 4
    grain: float = 2.5
    reach: float = 0.9
    channels: tuple[str, ...] = ("MRI",)
    dtype: str = "float32"
    ending: str = ".nii.gz"
    regions: bool = False
    ignore: bool = False
    oblique: bool = False

    @property
    def regions_class_order(self) -> list[int]:
        """Outer regions first."""
        return list(range(1, self.n_labels + 1)) if self.regions else []

    def label_table(self) -> dict[str, Any]:
        """The "labels" of dataset.json; a region holds a label and all higher ones."""
        values = range(1, self.n_labels + 1)
        table = {f"label {v}": list(range(v, self.n_labels + 1)) if self.regions else v for v in values}
        ignored = {"ignore": self.n_labels + 1} if self.ignore else {}
        return {"background": 0, **table, **ignored}


def write_case(folder: Path, number: int, case: Case, style: Style) -> None:
    """Draw a case and write its files."""
    random = np.random.default_rng([20240, number])
    labels = _labels(random, case.shape, style)
    inside = _ellipsoid(case.shape, style.reach)
    # A rim of labels outside the ellipsoid remains, so that there are labels where the image is zero.
    labels[~_ellipsoid(case.shape, 1.1 * style.reach)] = 0
    channels = [_channel(random, labels, inside, name) for name in style.channels]
    if case.kind in {"empty labels", "nothing at all"}:
        labels[...] = 0
    if case.kind in {"zero image", "nothing at all"}:
        channels = [np.zeros_like(channel) for channel in channels]
    if case.kind == "constant image":
        channels = [np.full_like(channel, 100) for channel in channels]
    name = f"case_{number:02d}"
    for i, channel in enumerate(channels):
        file = folder / "imagesTr" / f"{name}_{i:04d}{style.ending}"
        _write(file, channel.astype(style.dtype), case, style)
    _write(folder / "labelsTr" / f"{name}{style.ending}", labels.astype(np.uint8), case, style)


def _labels(random: np.random.Generator, shape: tuple[int, ...], style: Style) -> np.ndarray:
    """At each voxel the label of the highest of several smooth random fields."""
    sigma = [style.grain * size / 40 for size in shape]
    highest = np.full(shape, -np.inf)
    labels = np.zeros(shape, np.int16)
    for value in range(style.n_labels + 1 + style.ignore):
        field = ndimage.gaussian_filter(random.normal(size=shape), sigma)
        labels[field > highest] = value
        np.maximum(highest, field, out=highest)
    return labels


def _ellipsoid(shape: tuple[int, ...], reach: float) -> np.ndarray:
    axes = (np.linspace(-1, 1, size) if size > 1 else np.zeros(1) for size in shape)
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return z**2 + y**2 + x**2 < reach**2


def _channel(random: np.random.Generator, labels: np.ndarray, inside: np.ndarray, name: str) -> np.ndarray:
    contrast = 100 / (1 + name.startswith("rgb"))
    smooth = 20 * np.sin(np.arange(labels.shape[-1]) / 7)
    values = 90 + contrast * np.sin(labels) + smooth + 8 * random.normal(size=labels.shape)
    holes = random.random(labels.shape) < 0.01
    values = np.where(inside & ~holes, values, 0)
    return np.clip(values, 0, 255) if name.startswith("rgb") else values


def _write(file: Path, array: np.ndarray, case: Case, style: Style) -> None:
    flat = len(array) == 1
    image = sitk.GetImageFromArray(array[0] if flat else array)
    image.SetSpacing([float(mm) for mm in case.spacing_mm[flat:]][::-1])
    if style.oblique:
        image.SetDirection(OBLIQUE)
        image.SetOrigin((-31.5, 12.25, 7.0))
    sitk.WriteImage(image, str(file))
