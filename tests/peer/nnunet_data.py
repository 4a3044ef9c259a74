"""The data sets that are compared: parts of real ones, and synthetic ones for what those lack.

Sizes and spacings are along z, y, x. In most synthetic data sets, cases are up- and downsampled by factors of 2, 1.5
and 3, where scores of labels tie, and by odd ones, where they do not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunet_scenes import Case, Style, write_case


@dataclass(frozen=True)
class DataSet:
    """One data set and how it is planned.

    Attributes:
        name: Of the data set, and of the tests.
        build: Writes it to a folder, given the folder of real data sets.
        real: Whether it is a part of a real data set.
        slow: Whether its tests take minutes.
        gpu_memory_gb, spacing_mm: To plan for, if not the default.
        relative: Whether the tolerance is relative to a channel's largest value: for values of hundreds, which float32
            represents to 1e-5 at best.
    """

    name: str
    build: Callable[[Path, Path | None], None]
    real: bool = False
    slow: bool = False
    gpu_memory_gb: float | None = None
    spacing_mm: tuple[float, float, float] | None = None
    relative: bool = False


def parameter(data: DataSet) -> Any:
    """A test parameter of a data set."""
    marks = [pytest.mark.data] if data.real else []
    slow = [pytest.mark.slow, pytest.mark.timeout(3600)] if data.slow else []
    return pytest.param(data, id=data.name, marks=[*marks, *slow])


def real(folder: Path, shared: Path, *, source: str, n_cases: int) -> None:
    """Links to some of a real data set's cases, evenly spread over it."""
    whole = shared / "data" / source
    description = json.loads((whole / "dataset.json").read_text())
    ending = description["file_ending"]
    labels = sorted((whole / "labelsTr").glob(f"*{ending}"))
    chosen = [labels[i] for i in np.linspace(0, len(labels) - 1, n_cases).astype(int)]
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for label in chosen:
        (folder / "labelsTr" / label.name).symlink_to(label)
        for image in (whole / "imagesTr").glob(f"{label.name.removesuffix(ending)}_????{ending}"):
            (folder / "imagesTr" / image.name).symlink_to(image)
    # A plan is named after the data set, which in nnU-Net is the folder.
    description.pop("name", None)
    (folder / "dataset.json").write_text(json.dumps({**description, "numTraining": n_cases}))


def synthetic(folder: Path, _: Path | None, *, cases: list[Case], style: Style) -> None:
    """Random cases of one style, from fixed seeds."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for number, case in enumerate(cases):
        write_case(folder, number, case, style)
    description = {
        "channel_names": {str(i): name for i, name in enumerate(style.channels)},
        "labels": style.label_table(),
        "numTraining": len(cases),
        "file_ending": style.ending,
    }
    if style.regions_class_order:
        description["regions_class_order"] = style.regions_class_order
    (folder / "dataset.json").write_text(json.dumps(description))


def turned(cases: list[Case], order: tuple[int, int, int]) -> list[Case]:
    """The same sizes and spacings on other axes."""
    return [
        Case(tuple(case.shape[i] for i in order), tuple(case.spacing_mm[i] for i in order), case.kind)
        for case in cases
    ]


EXACT_ANISOTROPIC = [
    Case((14, 72, 64), (5, 0.8, 0.8)),
    Case((15, 70, 66), (5, 0.8, 0.8)),
    Case((13, 66, 76), (5, 0.8, 0.8)),
    Case((14, 144, 128), (5, 0.4, 0.4)),
    Case((13, 36, 32), (5, 1.6, 1.6)),
    Case((10, 48, 42), (7.5, 1.2, 1.2)),
    Case((7, 24, 22), (10, 2.4, 2.4)),
]
ODD_ANISOTROPIC = [
    Case((14, 72, 64), (5, 0.8, 0.8)),
    Case((15, 70, 66), (6, 0.77, 0.77)),
    Case((7, 75, 61), (10, 0.73, 0.77)),
    Case((18, 66, 70), (4.3, 0.85, 0.8)),
    Case((21, 55, 59), (2.6, 0.95, 1.01)),
    Case((13, 81, 83), (5.5, 0.62, 0.66)),
]
MODERATE = [
    Case((30, 60, 56), (2, 0.9, 0.9)),
    Case((28, 62, 54), (2, 0.9, 0.9)),
    Case((31, 30, 28), (2, 1.8, 1.8)),
    Case((20, 40, 36), (3, 1.35, 1.35)),
    Case((60, 120, 112), (1, 0.45, 0.45)),
    Case((26, 67, 51), (2.3, 0.81, 1.01)),
    Case((14, 61, 55), (4, 0.9, 0.9)),
]
ISOTROPIC = [
    Case((40, 44, 42), (1, 1, 1)),
    Case((42, 40, 38), (1, 1, 1)),
    Case((21, 22, 20), (2, 2, 2)),
    Case((78, 84, 80), (0.5, 0.5, 0.5)),
    Case((28, 26, 30), (1.5, 1.5, 1.5)),
    Case((14, 13, 15), (3, 3, 3)),
    Case((44, 37, 31), (0.9, 1.1, 1.3)),
]
FEW = [
    Case((36, 40, 38), (1, 1, 1)),
    Case((18, 20, 19), (2, 2, 2)),
    Case((26, 24, 28), (1.5, 1.5, 1.5)),
    Case((74, 70, 72), (0.5, 0.5, 0.5)),
    Case((40, 37, 31), (0.9, 1.1, 1.3)),
]
# The coarsest spacing is that of two axes, or another axis' than in the plan.
SHARED_COARSEST = [
    Case((14, 15, 60), (4, 4, 1)),
    Case((15, 14, 42), (4, 4, 1.5)),
    Case((12, 15, 58), (5, 4, 1)),
    Case((28, 14, 60), (2, 4, 1)),
    Case((14, 28, 30), (4, 2, 2)),
]
DEGENERATE = [
    Case((30, 32, 34), (1, 1, 1)),
    Case((16, 15, 17), (2, 2, 2)),
    Case((24, 22, 20), (1.5, 1.5, 1.5), "empty labels"),
    Case((20, 18, 16), (2, 2, 2), "zero image"),
    Case((31, 33, 35), (0.9, 0.9, 0.9), "constant image"),
    Case((15, 16, 17), (2, 2, 2), "nothing at all"),
]
LARGE = [
    Case((96, 104, 100), (1, 1, 1)),
    Case((100, 96, 104), (1, 1, 1)),
    Case((80, 84, 78), (1.25, 1.25, 1.25)),
    Case((120, 128, 118), (0.8, 0.8, 0.8)),
    Case((66, 100, 64), (1.5, 1, 1.5)),
]
# A 2D file's third spacing follows from the others, so nnU-Net plans 3D networks where those differ this much.
FLAT_MIXED = [
    Case((1, 64, 72), (1, 0.5, 0.5)),
    Case((1, 66, 70), (1, 0.5, 0.5)),
    Case((1, 32, 36), (1, 1, 1)),
    Case((1, 128, 144), (1, 0.25, 0.25)),
    Case((1, 44, 46), (1, 0.75, 0.75)),
    Case((1, 61, 77), (1, 0.61, 0.47)),
]
FLAT = [*FLAT_MIXED, Case((1, 62, 68), (1, 0.5, 0.5)), Case((1, 68, 62), (1, 0.5, 0.5))]
GRAY = [
    Case((1, height, width), (1, 1, 1))
    for height, width in ((64, 80), (70, 66), (96, 64), (61, 63), (80, 80))
]

SCHEMES = ("CT", "noNorm", "rescale_to_0_1", "rgb_to_0_1", "zscore")


def _synthetic(name: str, cases: list[Case], style: Style | None = None, **planning: object) -> DataSet:
    return DataSet(name, partial(synthetic, cases=cases, style=style or Style()), **planning)


def _real(name: str, source: str, n_cases: int, **planning: object) -> DataSet:
    return DataSet(name, partial(real, source=source, n_cases=n_cases), real=True, **planning)


DATA_SETS = [
    _real("hippocampus", "hippocampus", 12),
    _real("hippocampus_resampled", "hippocampus", 6, spacing_mm=(1.5, 0.5, 0.8)),
    _real("hippocampus_all", "hippocampus", 260, slow=True),
    _real("ct_blocks", "ct_totalseg_tests", 8),
    _real("ct_blocks_resampled", "ct_totalseg_tests", 8, spacing_mm=(2, 1.5, 2.3)),
    _real("ct_patches_2d", "ct_msd_lung_patches_2d", 12),
    _real("ms", "ms_ljubljana_mni", 3),
    _real("ms_resampled", "ms_ljubljana_mni", 3, spacing_mm=(3, 1.5, 1.3), slow=True),
    _real("retina_rgb", "chasedb1", 6),
    _synthetic("anisotropic", ODD_ANISOTROPIC, Style(reach=1.2)),
    _synthetic("anisotropic_exact", EXACT_ANISOTROPIC),
    _synthetic("transposed", turned(ODD_ANISOTROPIC, (1, 2, 0))),
    _synthetic("transposed_exact", turned(EXACT_ANISOTROPIC, (1, 0, 2))),
    _synthetic("shared_coarsest", SHARED_COARSEST),
    _synthetic("moderate", MODERATE, Style(dtype="int16", reach=1.2)),
    _synthetic("many_labels", ISOTROPIC, Style(n_labels=8, grain=1.5, reach=1.2)),
    _synthetic("int16_labels", FEW[:3], Style(n_labels=140, grain=1.0)),
    _synthetic("regions", FEW, Style(regions=True)),
    _synthetic("ignore", FEW, Style(ignore=True, reach=1.2)),
    _synthetic("regions_ignore", FEW, Style(regions=True, ignore=True)),
    _synthetic("degenerate", DEGENERATE, Style(dtype="int16")),
    _synthetic("cascade", LARGE, Style(reach=1.2), gpu_memory_gb=0.25),
    _synthetic("schemes", FEW, Style(channels=SCHEMES), relative=True),
    _synthetic("bare_nifti", FEW, Style(ending=".nii", oblique=True)),
    _synthetic("flat_mixed", FLAT_MIXED, Style(reach=1.2)),
    _synthetic("flat", FLAT, Style(reach=1.2)),
    _synthetic("gray_png", GRAY, Style(ending=".png", channels=("gray",), dtype="uint8")),
]
