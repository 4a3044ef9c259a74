"""`segflow folds`: split the cases for cross-validation."""

from __future__ import annotations

from segflow.commands.arguments import DatasetFile, ResultFile
from segflow.contracts.folds import check_folds
from segflow.images.dataset import read_dataset
from segflow.images.patients import read_patients
from segflow.nnunet.folds import read_folds, write_folds
from segflow.planning.folds import make_folds


def folds(dataset: DatasetFile, *, output: ResultFile, patients: str | None = None) -> None:
    """Split the cases for cross-validation: by the data set's own splits_final.json if there is one, or in five.

    Args:
        dataset: Folder with dataset.json, imagesTr and labelsTr.
        output: splits_final.json.
        patients: CSV file with the columns case and patient, or a regular expression that finds the patient in a
            case's name: the cases of a patient are held out together (default: the data set's patients.csv).

    Raises:
        DatasetError: A case has no patient.
        PlanError: The data set's own folds do not fit.

    Source: method.md sections 6.9, 10.
    """
    found = read_dataset(dataset.parent)
    identifiers = [case.identifier for case in found.cases]
    owners = read_patients(found.folder, patients, identifiers)
    if found.folds_file is None:
        split = make_folds(identifiers, owners)
    else:
        split = read_folds(found.folds_file)
        check_folds(split, identifiers, where=str(found.folds_file), patients=owners)
    write_folds(output, split)
