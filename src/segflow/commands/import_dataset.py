"""`segflow import`: a data set in another layout, described as nnU-Net v2 describes one."""

from __future__ import annotations

import csv
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from segflow.commands.arguments import InputPath, OutputFolder
from segflow.commands.console import console
from segflow.contracts.errors import DatasetError
from segflow.contracts.folds import check_folds
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Fold
from segflow.images.dicom.layout import read_dicom
from segflow.images.formats import ending_of, label_ending
from segflow.images.layouts import Layout, read_bids, read_decathlon, read_table
from segflow.nnunet.folds import write_folds
from segflow.storage.files import temporary_folder, write_json, write_text

#: What a layout can be told beside its source.
_OPTIONS = {"bids": ("--channels", "--label"), "dicom": ("--channels", "--label", "--labels")}


def import_dataset(
    layout: Literal["msd", "nnunet-v1", "bids", "table", "dicom"],
    sources: list[InputPath],
    *,
    output: OutputFolder,
    channels: list[str] | None = None,
    label: str = "",
    labels: list[str] | None = None,
) -> None:
    """Describe a data set in another layout, so that every command takes it.

    Writes a dataset.json that lists the files where they are; only DICOM is converted, to NIfTI. With patients also a
    patients.csv, by which the cases of each are held out together, and with folds a splits_final.json.

    Args:
        layout: msd (a task of the Medical Segmentation Decathlon), nnunet-v1, bids (with label maps in
            derivatives/labels), table (CSV with the columns image_NAME, label and, if wanted, case, patient, fold) or
            dicom (series with DICOM-SEG, RTSTRUCT or a label image per study).
        sources: The folder, the .tar archive of a Decathlon task, which is unpacked into the output, or the CSV file;
            of dicom one folder or several, each with one study if labels are images.
        output: Folder of the new data set; must not hold one yet.
        channels: Of bids: suffixes of the images, such as T1w (default: those that all sessions have once). Of
            dicom: NAME=TEXT for each channel, where TEXT is in the description of a series (default: the labelled one).
        label: Of bids and dicom: the label file whose name contains this, if there are several.
        labels: Of dicom: segments or structures to take, in the order of their values (default: all, by name).

    Raises:
        DatasetError: The source is not in this layout, a file is missing, files are of several formats, the folds do
            not fit, or the output holds a data set.
    """
    description = output / "dataset.json"
    for file in (description, output / "splits_final.json", output / "patients.csv"):
        if file.exists():
            raise DatasetError(f"{file} exists already; choose another folder or remove it")
    output.mkdir(parents=True, exist_ok=True)
    source = sources[0]
    given = {"--channels": channels, "--label": label, "--labels": labels}
    surplus = [name for name, value in given.items() if value and name not in _OPTIONS.get(layout, ())]
    if surplus:
        raise DatasetError(f"{layout} takes no {' and no '.join(surplus)}; leave that out")
    if len(sources) > 1 and layout != "dicom":
        raise DatasetError(f"{layout} is read from one folder or file, found {len(sources)}")
    folder = _unpacked(source, output) if source.suffix == ".tar" else source
    readers: dict[str, Callable[[Path], Layout]] = {
        "msd": read_decathlon,
        "nnunet-v1": read_decathlon,
        "bids": partial(read_bids, channels=channels or (), label=label),
        "table": read_table,
        "dicom": lambda _: read_dicom(
            sources, output, channels=channels or (), label=label, labels=labels or ()
        ),
    }
    found = readers[layout](folder)
    if layout != "dicom":  # whose label maps are written here
        Labels.from_json(found.labels, found.about.get("regions_class_order"), where=f"labels of {source}")
    content = _description(found, output)
    folds, patients = _folds(found), _patients(found)
    if folds:
        check_folds(folds, found.cases, where="column fold", patients=patients or None)
        write_folds(output / "splits_final.json", folds)
    if patients:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("case", "patient"), *sorted(patients.items())])
        write_text(output / "patients.csv", text.getvalue())
    write_json(description, content)  # last
    console.print(f"{len(found.cases)} cases in {description}")


def _unpacked(archive: Path, output: Path) -> Path:
    """The folder of a task's archive, of which files alone are taken, and none that would lie outside."""
    inside = output / "source"
    if inside.exists():
        raise DatasetError(f"{inside} exists already; remove it, or choose another folder")
    with temporary_folder(output) as temporary:
        whole = (temporary / "source").resolve()
        try:
            with tarfile.open(archive) as opened:
                for member in opened:
                    target = (whole / member.name).resolve()
                    content = opened.extractfile(member) if member.isfile() else None
                    if content is None or not target.is_relative_to(whole):
                        continue
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with target.open("wb") as file:
                        shutil.copyfileobj(content, file)
        except (tarfile.TarError, EOFError) as problem:
            raise DatasetError(f"{archive} cannot be unpacked: {problem}; download it again") from None
        files = sorted(whole.glob("**/dataset.json"), key=lambda file: len(file.parts))
        if not files:
            raise DatasetError(f"{archive} holds no dataset.json: it is no task of the Decathlon")
        whole.rename(inside)
    return inside / files[0].relative_to(whole).parent


def _description(found: Layout, output: Path) -> dict[str, Any]:
    formats = {ending_of(file): name for name, case in found.cases.items() for file in case.images}
    expected = {label_ending(ending) for ending in formats}
    labels = {ending_of(case.label): name for name, case in found.cases.items()}
    endings = formats | {ending: name for ending, name in labels.items() if ending not in expected}
    if len(endings) > 1:
        said = ", ".join(f"{ending or 'no image'} (case {name})" for ending, name in sorted(endings.items()))
        raise DatasetError(f"all files of a data set must have one format; found {said}: convert some")
    listed = {
        name: {
            "images": [_path(file, output) for file in case.images],
            "label": _path(case.label, output),
        }
        for name, case in found.cases.items()
    }
    return {
        **found.about,
        "channel_names": {str(number): name for number, name in enumerate(found.channels)},
        "labels": dict(found.labels),
        "numTraining": len(listed),
        "file_ending": next(iter(formats), ""),
        "dataset": listed,
    }


def _path(file: Path, output: Path) -> str:
    """Relative where the file is in the data set itself, so that both can be moved together."""
    whole = Path(os.path.abspath(file))  # noqa: PTH100  links keep their names
    inside = Path(os.path.abspath(output))  # noqa: PTH100
    return str(whole.relative_to(inside) if whole.is_relative_to(inside) else whole)


def _folds(found: Layout) -> tuple[Fold, ...]:
    """Those that were given; none if no case has one."""
    given = {name: case.fold for name, case in found.cases.items() if case.fold is not None}
    return tuple(
        Fold(
            train=tuple(sorted(name for name in found.cases if given.get(name) != number)),
            val=tuple(sorted(name for name in given if given[name] == number)),
        )
        for number in range(max(given.values(), default=-1) + 1)
    )


def _patients(found: Layout) -> dict[str, str]:
    """By case; none if no patient has several cases."""
    patients = {name: case.patient for name, case in found.cases.items() if case.patient is not None}
    if len(set(patients.values())) == len(found.cases):
        return {}
    unknown = sorted(set(found.cases) - set(patients))
    if patients and unknown:
        raise DatasetError(f"case {unknown[0]} has no patient, but others have; name all or none")
    return patients
