"""What DICOM objects say of labels and of how they were made: coded concepts, colours, the model.

Source: DICOM PS3.16, context groups 7192 and 7194 (types of segments).
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from segflow.contracts.errors import DatasetError
from segflow.contracts.labels import Labels
from segflow.images.dicom.files import dicom_libraries
from segflow.images.patients import read_rows

__all__ = ["Origin", "colour_of", "concept_of", "read_codes"]

_OWN_SCHEME: Final = "99SEGFLOW"
_VALUE_LETTERS: Final = 16
_COLUMNS: Final = ("label", "value", "scheme", "meaning")
_MOST_LETTERS: Final = {"value": 16, "scheme": 16, "meaning": 64}
#: Types of segments that are anatomical structures, or abnormal ones.
_ANATOMY, _LESIONS = "cid7192", "cid7194"
_GOLDEN: Final = 0.618  # of a turn: multiples of it lie far apart


@dataclass(frozen=True)
class Origin:
    """What an object says of how it was made.

    Attributes:
        labels: Names and values.
        model: The name of the model's data set.
        digest: Of the model.
        version: Of segflow.
        codes: (value, scheme, meaning) by the name of a label; others are looked up by name in DICOM's own lists.
    """

    labels: Labels
    model: str
    digest: str
    version: str
    codes: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)


def read_codes(file: Path, labels: Labels) -> dict[str, tuple[str, str, str]]:
    """A table of coded concepts, CSV with the columns label, value, scheme (SCT for SNOMED CT) and meaning.

    Raises:
        DatasetError: It is no table, a column is missing, a cell is empty or too long for DICOM, or a label is unknown.
    """
    if not file.exists():
        return {}
    _, rows = read_rows(file, ",", _COLUMNS)
    for row in rows:
        if not all(row[name] for name in _COLUMNS):
            raise DatasetError(f"{file} needs the columns {', '.join(_COLUMNS)}, all filled; found {row}")
        if long := next((name for name, most in _MOST_LETTERS.items() if len(row[name]) > most), None):
            raise DatasetError(
                f"{file}: the {long} {row[long]} is longer than {_MOST_LETTERS[long]} letters; shorten it"
            )
        if row["label"] not in labels.target_names:
            raise DatasetError(
                f"{file}: the model has no label {row['label']}; it has {', '.join(labels.target_names)}"
            )
    return {row["label"]: (row["value"], row["scheme"], row["meaning"]) for row in rows}


def concept_of(name: str, codes: Mapping[str, tuple[str, str, str]]) -> tuple[Any, Any]:
    """Category and type: by the table, by DICOM's lists of structures and lesions, or a code of our own."""
    pydicom, _ = dicom_libraries()
    known = pydicom.sr.codedict.codes
    categories = {
        _ANATOMY: known.SCT.AnatomicalStructure,
        _LESIONS: known.SCT.MorphologicallyAbnormalStructure,
    }
    if name in codes:
        given = pydicom.sr.coding.Code(*codes[name])
        is_lesion = given in getattr(known, _LESIONS)
        return categories[_LESIONS if is_lesion else _ANATOMY], given
    keyword = "".join(
        word[:1].upper() + word[1:] for word in name.replace("_", " ").replace("-", " ").split()
    )
    for group, category in categories.items():
        concepts = getattr(known, group)
        if keyword.isidentifier() and keyword in concepts.dir():
            return category, getattr(concepts, keyword)
    half = _VALUE_LETTERS // 2
    value = name if len(name) <= _VALUE_LETTERS else name[:half] + sha256(name.encode()).hexdigest()[:half]
    return known.SCT.Tissue, pydicom.sr.coding.Code(value, _OWN_SCHEME, name[:64])


def colour_of(number: int) -> tuple[int, int, int]:
    """Red, green and blue from 0 to 255; neighbours in the list differ much."""
    red, green, blue = (round(255 * v) for v in colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.75, 0.9))
    return red, green, blue
