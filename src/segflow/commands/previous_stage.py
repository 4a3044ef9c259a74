"""`segflow previous-stage`: bring low-resolution predictions to the grid of the cascade's prepared cases."""

from __future__ import annotations

from segflow.commands.arguments import Call, DatasetFile, InputFile, InputFolder, ResultFile
from segflow.commands.console import progress_bar
from segflow.contracts.artefacts import Manifest
from segflow.images.cases import read_labels
from segflow.images.dataset import read_description
from segflow.images.formats import label_ending
from segflow.nnunet.folds import read_folds
from segflow.nnunet.parts import read_preparation
from segflow.preprocessing.prepare import prepare_labels
from segflow.storage.cases import CaseStore
from segflow.storage.files import digest_of, write_array, write_text


def previous_stage(
    *,
    dataset: DatasetFile,
    preparation: InputFile,
    folds: InputFile,
    predictions: InputFolder,
    prepared: InputFile,
    manifest: ResultFile,
    call: Call = Call(),
) -> None:
    """Bring low-resolution out-of-fold predictions to the grid of the cascade's prepared cases.

    Args:
        dataset: The data set's folder or dataset.json.
        preparation: The plan's preparation/CONFIGURATION.json of the cascade's cases.
        folds: splits_final.json.
        predictions: Folder with fold_0, fold_1, ... of label maps.
        prepared: prepared.json of the cascade's cases.
        manifest: JSON with a digest per case; the resampled label maps are written beside it.
        call: The call.

    Source: method.md section 19.
    """
    description, _ = read_description(dataset)
    prepared_as = read_preparation(preparation)
    store = CaseStore(prepared.parent)
    split = read_folds(folds)
    call.reads(*(predictions / f"fold_{number}" / "manifest.json" for number in range(len(split))))
    held_out = [(number, identifier) for number, fold in enumerate(split) for identifier in fold.val]
    digests = {}
    with progress_bar("previous stage", len(held_out)) as bar:
        for number, identifier in held_out:
            name = f"{identifier}{label_ending(description['file_ending'])}"
            found = read_labels(predictions / f"fold_{number}" / name, case=identifier)
            resampled = prepare_labels(found, store.record(identifier), prepared_as)
            target = manifest.parent / f"{identifier}.npy"
            write_array(target, resampled)
            digests[identifier] = digest_of(target)
            bar.advance()
    write_text(manifest, Manifest(cases=digests).to_json())
