"""`segflow phantom`: a small synthetic data set in the raw layout."""

from __future__ import annotations

from segflow.commands.arguments import OutputFolder, Positive, Seed
from segflow.commands.console import console, progress_bar
from segflow.contracts.errors import DatasetError
from segflow.images.cases import write_labels
from segflow.images.image_files import write_image
from segflow.phantom.case import make_case
from segflow.storage.files import write_json

ENDING = ".nii.gz"


def phantom(folder: OutputFolder, *, cases: Positive = 12, seed: Seed = 0) -> None:
    """Write a small synthetic data set.

    Args:
        folder: Where to write; must not hold a data set yet.
        cases: How many.
        seed: Another seed gives other cases.

    Raises:
        DatasetError: The folder already holds a data set.
    """
    description = folder / "dataset.json"
    if description.exists():
        raise DatasetError(f"{description} exists already; choose another folder or remove it")
    with progress_bar("phantom", cases) as bar:
        for index in range(cases):
            case = make_case(index, seed)
            write_image(folder / "imagesTr" / f"{case.identifier}_0000{ENDING}", case.image[0], case.geometry)
            if case.labels is not None:
                write_labels(folder / "labelsTr" / f"{case.identifier}{ENDING}", case.labels, case.geometry)
            bar.advance()
    content = {
        "name": "Phantom",
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "organ": 1, "lesion": 2},
        "numTraining": cases,
        "file_ending": ENDING,
    }
    write_json(description, content)  # last
    console.print(f"{cases} cases in {folder}")
