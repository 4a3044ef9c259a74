"""`segflow predict`: label new images with a model package."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from segflow.commands.arguments import (
    ALONE,
    CORES,
    Ahead,
    Device,
    InputPath,
    ModelPackage,
    OutputFolder,
    Shard,
    ThisCall,
    Threads,
)
from segflow.commands.console import console, logger, progress_bar
from segflow.contracts.arrays import LabelMap, SpacingMm
from segflow.contracts.case import Case, CaseRecord
from segflow.contracts.errors import ConfigurationError, PredictionError, SegflowError, sentence_of
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.model import PredictedCase, Prediction
from segflow.contracts.plan import FoldName
from segflow.fingerprint.consistency import unusual_spacings
from segflow.images.cases import read_case, write_labels
from segflow.images.dataset import Inputs, find_inputs
from segflow.images.formats import digest_of_image, ending_of, label_ending
from segflow.prediction.threads import read_compute_write
from segflow.recipes.inference import Precision
from segflow.storage.files import key_of, read_contract, versions, write_text
from segflow.storage.probabilities import write_probabilities
from segflow.storage.results import Entry, ResultFolder, open_journal

if TYPE_CHECKING:  # these need torch, and the command line's help does not
    from segflow.prediction.predictor import Predictor, ReadyCase


@dataclass(frozen=True)
class _Ready:
    case: Case
    key: str
    content: ReadyCase


@dataclass(frozen=True)
class _Labelled:
    case: Case
    key: str
    record: CaseRecord
    labels: LabelMap
    others: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What happens to a case: reading, prediction and writing, each of which may run beside the others.

    Attributes:
        predictor: The model.
        output: Folder of the label maps.
        save_probabilities: Write them, too.
        common: Key of all that the cases share.
        journal: What this call makes, and earlier ones made.
        spacings: Of the training cases, if they are known.
    """

    predictor: Predictor
    output: Path
    save_probabilities: bool
    common: str
    journal: ResultFolder
    spacings: tuple[SpacingMm, ...]

    def read(self, case: Case) -> _Ready | PredictedCase:
        """The case, network-ready; or what is there already."""
        key = key_of(self.common, *(f"{file.name} {digest_of_image(file)}" for file in case.images))
        made = self.journal.find(case.identifier, key)
        if made is not None:
            return PredictedCase(key=key, files=made.files)
        raw = read_case(case, channels=self.predictor.channels)
        unusual = unusual_spacings({case.identifier: raw.geometry.spacing_mm}, self.spacings)
        for warning in (*raw.warnings, *unusual):
            logger.warning("%s", warning)
        return _Ready(case, key, self.predictor.prepare(raw))

    def predict(self, item: _Ready) -> _Labelled:
        """Its label map; probabilities are written at once, as they come plane by plane."""
        record = item.content.record
        if not self.save_probabilities:
            return _Labelled(item.case, item.key, record, self.predictor.label(item.content), ())
        file = self.output / "probabilities" / f"{item.case.identifier}.npz"
        n_outputs = self.predictor.labels.n_outputs
        with write_probabilities(file, record, self.predictor.preparation, n_outputs=n_outputs) as keep:
            found = self.predictor.label(item.content, keep=keep)
        return _Labelled(item.case, item.key, record, found, (file,))

    def write(self, item: _Labelled) -> PredictedCase:
        """Write the label map, and note that the case is done."""
        file = _label_file(self.output, item.case)
        geometry = item.record.geometry
        write_labels(file, self.predictor.postprocess(item.labels, geometry.spacing_mm), geometry)
        made = self.journal.note(item.case.identifier, item.key, files=(file, *item.others))
        return PredictedCase(key=item.key, files=made.files)


def predict(
    *,
    model: ModelPackage,
    input: list[InputPath],  # noqa: A002  the option's name
    output: OutputFolder,
    folds: list[FoldName] | None = None,
    step: float | None = None,
    mirroring: Annotated[bool | None, Parameter(negative="--no-mirroring")] = None,
    precision: Precision | None = None,
    save_probabilities: bool = False,
    resume: bool = False,
    shard: Shard = (1, 1),
    ahead: Ahead = 1,
    device: Device = "auto",
    threads: Threads = CORES,
    call: ThisCall = ALONE,
) -> None:
    """Label new images with a model package.

    A case that fails is named at the end, the others are written.

    Args:
        model: Model package: its folder, its model.json or the experiment's folder.
        input: Folder of images IDENTIFIER_0000.ending, ..., or such files themselves.
        output: Folder of the label maps IDENTIFIER.ending.
        folds: Use only these folds' networks (default: all packed).
        step: Tile distance as a share of the patch (default: the model's).
        mirroring: Average over mirrored inputs (default: the model's).
        precision: Of the networks' arithmetic (default: the model's); bfloat16 is fast on CPUs that have units for it.
        save_probabilities: Also write OUTPUT/probabilities/IDENTIFIER.npz.
        resume: Leave alone what an earlier call has made of the same model, options and images.
        shard: Predict the I-th of N parts of the cases, 1/N to N/N: one call per GPU or job (default: all).
        ahead: Cases that are read ahead, and that may wait to be written; 0 takes the least memory.
        device: auto is a GPU if there is one.
        threads: CPU threads.
        call: The call.

    Raises:
        PredictionError: Some cases failed.
        DatasetError, ConfigurationError: The input cannot be understood, or would be overwritten.

    Source: method.md section 18.
    """
    import torch

    from segflow.prediction.predictor import Predictor

    torch.set_num_threads(threads)
    predictor = Predictor.from_folder(
        model,
        folds=folds,
        device=device,
        step=step,
        mirroring=mirroring,
        precision=precision,
        threads=threads,
    )
    inputs = _shard_of(find_inputs(input, predictor.ending, predictor.channels), *shard)
    _keep_apart(inputs, output)
    report = output / ("prediction.json" if shard[1] == 1 else f"prediction_{shard[0]}_of_{shard[1]}.json")
    unfinished = report.with_name(f"{report.stem}.unfinished")
    known = _known(output) if resume else {}
    if not resume:
        report.unlink(missing_ok=True)
        shutil.rmtree(unfinished, ignore_errors=True)
    common = key_of(
        call.code,
        predictor.digest,
        predictor.recipe.to_json(),
        *(f"{name} {number}" for name, number in versions().items()),
        f"{predictor.device} {save_probabilities}",
    )
    with open_journal(unfinished, known=known) as journal:
        job = _Job(
            predictor=predictor,
            output=output,
            save_probabilities=save_probabilities,
            common=common,
            journal=journal,
            spacings=_spacings(model),
        )
        done, failed = _worked_through(job, inputs, ahead)
        made = Prediction(
            model=predictor.digest,
            data=predictor.card.dataset,
            candidate=predictor.card.selection.best.name,
            folds=tuple(folds or predictor.card.folds),
            inference=predictor.recipe.model_dump(),
            device=predictor.device,
            versions=versions(),
            cases=dict(sorted(done.items())),
            failed=failed,
        )
        write_text(report, made.to_json())
    console.print(f"{len(done)} of {len(done) + len(failed)} cases labelled in {output}")
    if failed:
        raise PredictionError("\n".join(failed.values()))


def _worked_through(job: _Job, inputs: Inputs, ahead: int) -> tuple[dict[str, PredictedCase], dict[str, str]]:
    """Label maps by case, and why the other cases failed."""
    done, failed = {}, dict(inputs.faults)
    steps = (_guarded(job.read, Case), _guarded(job.predict, _Ready), _guarded(job.write, _Labelled))
    with (
        progress_bar(f"predict with {job.predictor.card.selection.best.name}", len(inputs.cases)) as bar,
        closing(read_compute_write(inputs.cases.values(), *steps, ahead=ahead)) as outcomes,
    ):
        for case, outcome in outcomes:
            if isinstance(outcome, SegflowError):
                logger.info("%s", outcome)
                failed[case.identifier] = str(outcome)
            else:
                done[case.identifier] = outcome
            bar.advance(note=case.identifier)
    return done, dict(sorted(failed.items()))


def _guarded(step: Callable[[Any], Any], expected: type[Any]) -> Callable[[Any], Any]:
    """A step whose faults become the case's result; what an earlier step has finished passes through."""

    def guarded(item: Any) -> Any:
        if not isinstance(item, expected):
            return item
        identifier = getattr(item, "case", item).identifier
        try:
            return step(item)
        except SegflowError as problem:
            return problem
        except OSError as problem:
            return PredictionError(f"case {identifier}: {sentence_of(problem)}")
        except (MemoryError, RuntimeError) as problem:  # torch has no class of its own for the CPU's memory
            if not isinstance(problem, MemoryError) and "memory" not in str(problem).lower():
                raise
            return PredictionError(
                f"case {identifier} does not fit into memory ({problem}); "
                "try --ahead 0, or a machine with more memory"
            )

    return guarded


def _shard_of(inputs: Inputs, part: int, parts: int) -> Inputs:
    chosen = sorted({*inputs.cases, *inputs.faults})[part - 1 :: parts]
    return Inputs(
        {name: inputs.cases[name] for name in chosen if name in inputs.cases},
        {name: inputs.faults[name] for name in chosen if name in inputs.faults},
    )


def _label_file(output: Path, case: Case) -> Path:
    ending = case.images[0].name[-len(ending_of(case.images[0])) :]
    return output / f"{case.identifier}{label_ending(ending)}"


def _keep_apart(inputs: Inputs, output: Path) -> None:
    """No label map may take an image's place."""
    images = {file.resolve() for case in inputs.cases.values() for file in case.images}
    for case in inputs.cases.values():
        file = _label_file(output, case)
        if file.resolve() in images:
            raise ConfigurationError(f"{file} is an image; name another folder with --output")


def _spacings(model: Path) -> tuple[SpacingMm, ...]:
    """Those of the training cases; none where a package has no fingerprint."""
    file = model / "dataset_fingerprint.json"
    return read_contract(Fingerprint, file, error=PredictionError).spacings if file.exists() else ()


def _known(output: Path) -> dict[str, Entry]:
    """What earlier calls have made, whatever their shards."""
    known: dict[str, Entry] = {}
    for file in sorted({*output.glob("prediction.json"), *output.glob("prediction_*_of_*.json")}):
        cases = read_contract(Prediction, file, error=PredictionError).cases
        known |= {name: Entry(key=case.key, files=case.files) for name, case in cases.items()}
    return known
