"""`segflow phantom`: a small synthetic data set in the raw layout."""

from __future__ import annotations

import argparse
from pathlib import Path

from segflow.commands.console import console, progress_bar
from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.images.cases import write_labels
from segflow.images.image_files import write_image
from segflow.phantom.case import PhantomCase, make_case
from segflow.storage.files import write_json

ENDING = ".nii.gz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("folder", type=Path, help="where to write; must not hold a data set yet")
    parser.add_argument("--cases", type=int, default=12, help="how many (default 12)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other cases (default 0)")


def run(options: argparse.Namespace) -> None:
    """Write images, labels, and dataset.json last.

    Raises:
        DatasetError: The folder already holds a data set.
    """
    description = options.folder / "dataset.json"
    if description.exists():
        raise DatasetError(f"{description} exists already; choose another folder or remove it")
    with progress_bar("phantom", options.cases) as bar:
        for index in range(options.cases):
            _write_case(options.folder, make_case(index, options.seed))
            bar.advance()
    write_json(
        description,
        {
            "name": "Phantom",
            "channel_names": {"0": "MR"},
            "labels": {"background": 0, "organ": 1, "lesion": 2},
            "numTraining": options.cases,
            "file_ending": ENDING,
        },
    )
    console.print(f"{options.cases} cases in {options.folder}")


def _write_case(folder: Path, case: PhantomCase) -> None:
    z, y, x = case.labels.shape
    geometry = Geometry(
        shape=(z, y, x),
        spacing_mm=case.spacing_mm,
        file_dimensions=3,
        file_spacing_mm=case.spacing_mm[::-1],
        origin_mm=case.origin_mm,
        direction=case.direction,
    )
    write_image(folder / "imagesTr" / f"{case.identifier}_0000{ENDING}", case.image[0], geometry)
    write_labels(folder / "labelsTr" / f"{case.identifier}{ENDING}", case.labels, geometry)
