"""Training cases of DICOM studies, converted to NIfTI."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segflow.contracts.arrays import LabelMap
from segflow.contracts.case import Geometry
from segflow.contracts.errors import DatasetError
from segflow.images.cases import compare_geometry, read_image, read_labels, write_labels
from segflow.images.dicom.files import Header, Series, find_series, headers_below
from segflow.images.dicom.labels import (
    LABEL_OBJECTS,
    label_map,
    names_of,
    on_grid,
    referenced_series,
    volume_of,
)
from segflow.images.dicom.studies import named
from segflow.images.formats import ENDINGS, FLAT_ENDINGS, ending_of
from segflow.images.image_files import read_geometry, write_image
from segflow.images.layouts import FoundCase, Layout, labels_in

__all__ = ["read_dicom"]


@dataclass(frozen=True)
class _Case:
    """Series, one per channel, and label objects or one label image."""

    series: tuple[Series, ...]
    labels: tuple[Path, ...]


def read_dicom(
    studies: Sequence[Path],
    output: Path,
    *,
    channels: Sequence[str] = (),
    label: str = "",
    labels: Sequence[str] = (),
) -> Layout:
    """Convert labelled series to a data set's images and label maps, in OUTPUT/imagesTr and OUTPUT/labelsTr.

    A case is a series that DICOM-SEG or RTSTRUCT objects refer to, or that of a study folder with one label image.

    Args:
        studies: Folders, each with one study if labels are images.
        output: Folder of the data set.
        channels: NAME=TEXT or TEXT for each channel: the series of the study whose description contains the text. By
            default the labelled series alone, called by its modality.
        label: Only label files whose names contain this.
        labels: Names of the segments or structures that are taken, in the order of their values; by default all.

    Raises:
        DatasetError: There are no labels, a label fits no series, or a series or label cannot be converted.
    """
    by_study = {study: headers_below(study) for study in studies}
    headers = {file: header for found in by_study.values() for file, header in found.items()}
    objects = [
        file
        for file, header in headers.items()
        if header.get("Modality") in LABEL_OBJECTS and label in file.name
    ]
    wanted = [_channel(text) for text in channels]
    cases = _of_objects(objects, headers, wanted) if objects else _of_label_images(by_study, wanted, label)
    used = {*objects, *(one.file for case in cases for one in case.series)}
    idle = next((study for study, found in by_study.items() if used.isdisjoint(found)), None)
    if idle is not None:
        raise DatasetError(
            f"{idle} has no labels, while other studies have; add them as DICOM objects, or leave it out"
        )
    values = _values(objects, labels)
    names = named([case.series[0] for case in cases])
    found = {
        name: _converted(case, name, output, values)
        for name, case in sorted(zip(names, cases, strict=True), key=lambda pair: pair[0])
    }
    kinds = [name for name, _ in wanted] or sorted({case.series[0].text("Modality") for case in cases})
    if not wanted and len(kinds) > 1:
        raise DatasetError(
            f"the labelled series are of several kinds ({', '.join(kinds)}); import them apart"
        )
    if objects:
        return Layout(tuple(kinds), {"background": 0} | values, found)
    return Layout(tuple(kinds), labels_in(case.label for case in found.values()), found)


def _channel(text: str) -> tuple[str, str]:
    """The name, and what a description contains."""
    name, _, part = text.partition("=")
    return name, part or name


def _of_objects(
    files: Sequence[Path], headers: Mapping[Path, Header], wanted: Sequence[tuple[str, str]]
) -> list[_Case]:
    found = find_series(headers)
    owners: dict[int, list[Path]] = defaultdict(list)
    for file in files:
        uid = referenced_series(file)
        fitting = [i for i, one in enumerate(found) if one.text("SeriesInstanceUID") == uid]
        if len(fitting) != 1:
            raise DatasetError(
                f"{file} is about series {uid}, which is {'there several times' if fitting else 'not there'}; give the "
                "folder with its images, once"
            )
        owners[fitting[0]].append(file)
    return [_Case(_with_channels(found[i], found, wanted), tuple(own)) for i, own in sorted(owners.items())]


def _of_label_images(
    by_study: Mapping[Path, Mapping[Path, Header]], wanted: Sequence[tuple[str, str]], label: str
) -> list[_Case]:
    cases = []
    for study, headers in by_study.items():
        found = find_series(headers)
        files = sorted(
            file
            for file in study.rglob("*")
            if ending_of(file) in set(ENDINGS) - set(FLAT_ENDINGS) and label in file.name
        )
        if len(files) != 1:
            said = ", ".join(file.name for file in files) or "none"
            raise DatasetError(
                f"{study} needs a DICOM-SEG, an RTSTRUCT or one label image, found {said}; add it, or name it with "
                "--label TEXT"
            )
        if not wanted and len(found) != 1:
            listed = "".join(f"\n  {one}" for one in found)
            raise DatasetError(
                f"{study} holds {len(found)} series; choose one by its description with --channels NAME=TEXT:{listed}"
            )
        cases.append(_Case(_with_channels(found[0], found, wanted), tuple(files)))
    return cases


def _with_channels(
    labelled: Series, found: Sequence[Series], wanted: Sequence[tuple[str, str]]
) -> tuple[Series, ...]:
    """The labelled series, or those of its study with the descriptions that are wanted."""
    if not wanted:
        return (labelled,)
    study = [one for one in found if one.text("StudyInstanceUID") == labelled.text("StudyInstanceUID")]
    chosen = []
    for name, text in wanted:
        fitting = [one for one in study if text in one.text("SeriesDescription")]
        if len(fitting) != 1:
            listed = "".join(f"\n  {one}" for one in study)
            raise DatasetError(
                f"channel {name}: {text!r} is in the description of {len(fitting)} series; name one:{listed}"
            )
        chosen += fitting
    return tuple(chosen)


def _values(objects: Sequence[Path], labels: Sequence[str]) -> dict[str, int]:
    """Label values by name."""
    there = sorted({name for file in objects for name in names_of(file)})
    unknown = next((name for name in labels if name not in there), None)
    if unknown is not None:
        raise DatasetError(f"--labels: no label is called {unknown}; there are {', '.join(there) or 'none'}")
    chosen = labels or there
    if special := next((name for name in ("background", "ignore") if name in chosen), None):
        raise DatasetError(
            f"a label cannot be called {special}, which has a meaning of its own; name others with --labels"
        )
    return {name: value for value, name in enumerate(chosen, start=1)}


def _converted(case: _Case, name: str, output: Path, values: Mapping[str, int]) -> FoundCase:
    """Files of the case, written."""
    for series in case.series:
        if series.folders:
            raise DatasetError(
                f"case {name}: its slices lie in {series.file.parent} and {series.folders[0]}; put them into one folder"
            )
    images, first = [], read_geometry(case.series[0].file, case=name)
    for number, series in enumerate(case.series):
        image, geometry = read_image([series.file], case=name)
        remarks = compare_geometry(series.file, geometry, case.series[0].file, first, name)
        if remarks:
            raise DatasetError(f"{remarks[0]}; resample one")
        whole = np.array_equal(image, np.rint(image)) and np.abs(image).max() < 2**15
        file = output / "imagesTr" / f"{name}_{number:04d}.nii.gz"
        write_image(file, image[0].astype(np.int16) if whole else image[0], geometry)
        images.append(file)
    label = output / "labelsTr" / f"{name}.nii.gz"
    write_labels(label, _labels(case, name, first, values), first)
    return FoundCase(tuple(images), label, patient=case.series[0].text("PatientID") or None)


def _labels(case: _Case, name: str, geometry: Geometry, values: Mapping[str, int]) -> LabelMap:
    if values:
        return label_map(case.labels, values, geometry)
    (file,) = case.labels
    where = read_geometry(file, case=name)
    if where.file_dimensions < 3:
        raise DatasetError(
            f"case {name}: {file} is a 2D image, without a position in the patient; save it as a volume"
        )
    volume = volume_of(where, read_labels(file, case=name))
    return on_grid(volume, geometry, f"case {name}: {file}")
