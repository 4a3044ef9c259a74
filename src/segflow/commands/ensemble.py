"""`segflow ensemble`: average the probabilities of two configurations on one fold."""

from __future__ import annotations

from pathlib import Path

from segflow.commands.arguments import Call, DatasetFile, InputFile, InputFolder, OutputFolder, ResultFile
from segflow.commands.resume import label_cases
from segflow.contracts.errors import PredictionError
from segflow.contracts.plan import FoldName, fold_of
from segflow.images.cases import write_labels
from segflow.images.dataset import read_description
from segflow.images.formats import companions, label_ending
from segflow.nnunet.folds import read_folds
from segflow.nnunet.parts import read_preparation
from segflow.prediction.averaging import averaged_label_map
from segflow.storage.cases import CaseStore
from segflow.storage.files import digest_of, key_of
from segflow.storage.probabilities import probability_slabs


def ensemble(
    *,
    dataset: DatasetFile,
    preparation: InputFile,
    folds: InputFile,
    fold: FoldName,
    prepared: InputFile,
    members: tuple[InputFolder, InputFolder],
    output: OutputFolder,
    manifest: ResultFile,
    call: Call = Call(),
) -> None:
    """Average the probabilities of two configurations on one fold, and reduce them to labels.

    Args:
        dataset: The data set's folder or dataset.json.
        preparation: The plan's preparation/CONFIGURATION.json of either.
        folds: splits_final.json.
        fold: Its number, from 0, or "all", which holds no case out.
        prepared: prepared.json of its cases.
        members: Folders of the two configurations' predictions.
        output: Folder of the label maps.
        manifest: JSON with a digest per case, written last.
        call: The call.

    Source: method.md section 21.
    """
    description, labels = read_description(dataset)
    prepared_as = read_preparation(preparation)
    store = CaseStore(prepared.parent)

    def probabilities(case: str) -> list[Path]:
        return [folder / "probabilities" / f"{case}.npz" for folder in members]

    def make(case: str) -> list[Path]:
        record = store.record(case)
        slabs = list(map(probability_slabs, probabilities(case)))
        file = output / f"{case}{label_ending(description['file_ending'])}"
        write_labels(file, averaged_label_map(slabs, record, prepared_as, labels), record.geometry)
        return [file, *companions(file)]

    common = key_of(call.code, prepared_as.to_json(), repr(labels))
    held_out = fold_of(read_folds(folds), fold).val
    keys = {case: key_of(common, *map(_digest, probabilities(case))) for case in held_out}
    label_cases(f"ensemble fold {fold}", keys, make, manifest)


def _digest(file: Path) -> str:
    if not file.exists():
        raise PredictionError(f"{file} does not exist; predict this fold again with probabilities")
    return digest_of(file)
