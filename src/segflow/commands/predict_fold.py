"""`segflow predict-fold`: label the cases that a network has never seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segflow.commands.arguments import (
    CORES,
    Call,
    DatasetFile,
    Device,
    InputFile,
    OutputFolder,
    ResultFile,
    Settings,
    Threads,
)
from segflow.commands.resume import label_cases
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.plan import FoldName, Preparation, fold_of
from segflow.images.cases import write_labels
from segflow.images.dataset import read_description
from segflow.images.formats import companions, label_ending
from segflow.nnunet.folds import read_folds
from segflow.nnunet.parts import read_preparation
from segflow.prediction.restore import label_map
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.settings import parse_settings
from segflow.storage.cases import CaseStore
from segflow.storage.files import digest_of, key_of
from segflow.storage.manifests import digests_of_cases
from segflow.storage.probabilities import write_probabilities

if TYPE_CHECKING:  # this needs torch, and the command line's help does not
    from segflow.prediction.sliding_window import FoldEnsemble


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What turns a prepared case into files."""

    ensemble: FoldEnsemble
    store: CaseStore
    digests: Mapping[str, str]
    preparation: Preparation
    labels: Labels
    output: Path
    ending: str
    save_probabilities: bool
    threads: int

    def predict(self, identifier: str) -> list[Path]:
        """Write the label map, and the probabilities if they are wanted; give their paths."""
        self.store.check(identifier, self.digests[identifier])
        case, record = self.store.read(identifier), self.store.record(identifier)
        stream = self.ensemble.scores(case.image, self.preparation, case.previous_stage)
        file = self.output / f"{identifier}{self.ending}"
        if not self.save_probabilities:
            found = label_map(stream, record, threads=self.threads)
            write_labels(file, found, record.geometry)
            return [file, *companions(file)]
        probabilities = self.output / "probabilities" / f"{identifier}.npz"
        with write_probabilities(
            probabilities, record, self.preparation, n_outputs=self.labels.n_outputs
        ) as keep:
            found = label_map(stream, record, threads=self.threads, keep=keep)
        write_labels(file, found, record.geometry)
        return [file, *companions(file), probabilities]


def predict_fold(
    *,
    dataset: DatasetFile,
    preparation: InputFile,
    folds: InputFile,
    fold: FoldName,
    prepared: InputFile,
    previous_stage: InputFile | None = None,
    model: InputFile,
    output: OutputFolder,
    manifest: ResultFile,
    save_probabilities: bool = False,
    values: Settings = Settings(),
    device: Device = "auto",
    threads: Threads = CORES,
    call: Call = Call(),
) -> None:
    """Label the cases a network has never seen, from their prepared arrays.

    After an interruption, the cases that were finished are not predicted again.

    Args:
        dataset: The data set's folder or dataset.json.
        preparation: The plan's preparation/CONFIGURATION.json.
        folds: splits_final.json.
        fold: Its number, from 0, or "all", which holds no case out.
        prepared: prepared.json of the prepared cases.
        previous_stage: Manifest of the previous stage's labels (cascade).
        model: Weights file of this fold.
        output: Folder of the label maps.
        manifest: JSON with a digest per case, written last.
        save_probabilities: Also keep them, for ensembles.
        values: Section "inference".
        device: auto is a GPU if there is one.
        threads: CPU threads.
        call: The call.

    Source: method.md section 19.
    """
    import torch

    from segflow.network.device import choose_device
    from segflow.prediction.sliding_window import load_ensemble

    torch.set_num_threads(threads)
    description, labels = read_description(dataset)
    digests = digests_of_cases(fold_of(read_folds(folds), fold).val, prepared, previous_stage)
    recipe = parse_settings(InferenceRecipe, "inference", values.settings)
    chosen = choose_device(device)
    ensemble = load_ensemble([model], labels, recipe, device=chosen)
    if [card.fold for card in ensemble.cards] != [fold]:
        raise PredictionError(
            f"{model} holds the network of fold {ensemble.cards[0].fold}, not of fold {fold}"
        )
    job = _Job(
        ensemble=ensemble,
        digests=digests,
        store=CaseStore(prepared.parent, previous_stage=previous_stage and previous_stage.parent),
        preparation=read_preparation(preparation),
        labels=labels,
        output=output,
        ending=label_ending(str(description["file_ending"])),
        save_probabilities=save_probabilities,
        threads=threads,
    )
    common = key_of(
        call.code,
        digest_of(model),
        job.preparation.to_json(),
        recipe.to_json(),
        repr(labels),
        f"{chosen} {save_probabilities}",
    )
    keys = {case: key_of(common, digest) for case, digest in digests.items()}
    label_cases(f"predict {job.ensemble.configuration.name} fold {fold}", keys, job.predict, manifest)
