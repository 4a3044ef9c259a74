"""`segflow predict`: label new images with a model package."""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args

import torch

from segflow.commands.console import console, logger, progress_bar
from segflow.commands.options import add_device_arguments
from segflow.contracts.arrays import LabelMap
from segflow.contracts.case import Case, CaseRecord
from segflow.contracts.errors import ConfigurationError, PredictionError, SegflowError
from segflow.contracts.model import PredictedCase, Prediction
from segflow.images.cases import read_case, write_labels
from segflow.images.dataset import Inputs, find_inputs
from segflow.images.formats import digest_of_image, ending_of, label_ending
from segflow.prediction.predictor import Predictor, ReadyCase
from segflow.prediction.threads import read_compute_write
from segflow.recipes.inference import Precision
from segflow.storage.files import digest_of, key_of, read_contract, versions, write_text
from segflow.storage.probabilities import write_probabilities
from segflow.storage.results import Entry, ResultFolder, open_journal

T = TypeVar("T")

_SHARD = re.compile(r"([0-9]+)/([0-9]+)", re.ASCII)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--model", type=Path, required=True, help="model package: the folder with model.json")
    parser.add_argument(
        "--input",
        type=Path,
        nargs="+",
        required=True,
        help="folder of images IDENTIFIER_0000.ending, ..., or such files themselves",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the label maps IDENTIFIER.ending"
    )
    parser.add_argument(
        "--folds", type=int, nargs="+", help="use only these folds' networks (default: all packed)"
    )
    parser.add_argument(
        "--step", type=float, help="tile distance as a share of the patch (default: the model's)"
    )
    parser.add_argument(
        "--mirroring",
        action=argparse.BooleanOptionalAction,
        help="average over mirrored inputs (default: the model's)",
    )
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        help="of the networks' arithmetic (default: the model's); bfloat16 is fast on CPUs that have units for it",
    )
    parser.add_argument(
        "--save-probabilities", action="store_true", help="also write OUTPUT/probabilities/IDENTIFIER.npz"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="leave alone what an earlier call has made of the same model, options and images",
    )
    parser.add_argument(
        "--shard",
        type=_shard,
        default=(1, 1),
        metavar="I/N",
        help="predict the I-th of N parts of the cases, 1/N to N/N: one call per GPU or job",
    )
    parser.add_argument(
        "--ahead",
        type=_count,
        default=1,
        metavar="N",
        help="cases that are read ahead, and that may wait to be written (default 1; 0 takes the least memory)",
    )
    add_device_arguments(parser)


def _shard(text: str) -> tuple[int, int]:
    match = _SHARD.fullmatch(text)
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of 1/N to N/N, such as 1/4")
    return part, parts


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


@dataclass(frozen=True)
class _Failed:
    """A case that cannot be labelled."""

    reason: str


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
    """

    predictor: Predictor
    output: Path
    save_probabilities: bool
    common: str
    journal: ResultFolder

    def read(self, case: Case) -> _Ready | PredictedCase | _Failed:
        """The case, network-ready; or what is there already."""
        return _attempt(case.identifier, lambda: self._read(case))

    def predict(self, item: _Ready | PredictedCase | _Failed) -> _Labelled | PredictedCase | _Failed:
        """Its label map; probabilities are written at once, as they come plane by plane."""
        if not isinstance(item, _Ready):
            return item
        return _attempt(item.case.identifier, lambda: self._predict(item))

    def write(self, item: _Labelled | PredictedCase | _Failed) -> PredictedCase | _Failed:
        """Write the label map, and note that the case is done."""
        if not isinstance(item, _Labelled):
            return item
        return _attempt(item.case.identifier, lambda: self._write(item))

    def _read(self, case: Case) -> _Ready | PredictedCase:
        key = key_of(self.common, *(f"{file.name} {digest_of_image(file)}" for file in case.images))
        made = self.journal.find(case.identifier, key)
        if made is not None:
            return PredictedCase(key=key, files=made.files)
        raw = read_case(case, channels=self.predictor.channels)
        for warning in raw.warnings:
            logger.warning("%s", warning)
        return _Ready(case, key, self.predictor.prepare(raw))

    def _predict(self, item: _Ready) -> _Labelled:
        record = item.content.record
        if not self.save_probabilities:
            return _Labelled(item.case, item.key, record, self.predictor.label(item.content), ())
        file = self.output / "probabilities" / f"{item.case.identifier}.npz"
        n_outputs = self.predictor.labels.n_outputs
        with write_probabilities(file, record, self.predictor.preparation, n_outputs=n_outputs) as keep:
            found = self.predictor.label(item.content, keep=keep)
        return _Labelled(item.case, item.key, record, found, (file,))

    def _write(self, item: _Labelled) -> PredictedCase:
        file = _label_file(self.output, item.case)
        geometry = item.record.geometry
        write_labels(file, self.predictor.postprocess(item.labels, geometry.spacing_mm), geometry)
        made = self.journal.note(item.case.identifier, item.key, files=(file, *item.others))
        return PredictedCase(key=item.key, files=made.files)


def run(options: argparse.Namespace) -> None:
    """Predict every case of the input; a case that fails is named at the end, the others are written.

    Raises:
        PredictionError: Some cases failed.
        DatasetError, ConfigurationError: The input cannot be understood, or would be overwritten.

    Source: method.md section 18; resuming, shards and overlap: ours.
    """
    torch.set_num_threads(options.threads)
    predictor = Predictor.from_folder(
        options.model,
        folds=options.folds,
        device=options.device,
        step=options.step,
        mirroring=options.mirroring,
        precision=options.precision,
        threads=options.threads,
    )
    inputs = _shard_of(find_inputs(options.input, predictor.ending, predictor.channels), *options.shard)
    _keep_apart(inputs, options.output)
    report = options.output / _report_name(*options.shard)
    unfinished = report.with_name(f"{report.stem}.unfinished")
    known = _known(options.output) if options.resume else {}
    if not options.resume:
        report.unlink(missing_ok=True)
        shutil.rmtree(unfinished, ignore_errors=True)
    model = key_of(*map(digest_of, predictor.files))
    common = key_of(
        options.code,
        model,
        predictor.recipe.to_json(),
        *(f"{name} {number}" for name, number in versions().items()),
        f"{predictor.device} {options.save_probabilities}",
    )
    with open_journal(unfinished, known=known) as journal:
        job = _Job(
            predictor=predictor,
            output=options.output,
            save_probabilities=options.save_probabilities,
            common=common,
            journal=journal,
        )
        done, failed = _worked_through(job, inputs, options.ahead)
        write_text(report, _report(predictor, model, options, done, failed).to_json())
    console.print(f"{len(done)} of {len(done) + len(failed)} cases labelled in {options.output}")
    if failed:
        raise PredictionError("\n".join(failed.values()))


def _worked_through(job: _Job, inputs: Inputs, ahead: int) -> tuple[dict[str, PredictedCase], dict[str, str]]:
    done, failed = {}, dict(inputs.faults)
    title = f"predict with {job.predictor.card.selection.best.name}"
    with (
        progress_bar(title, len(inputs.cases)) as bar,
        closing(
            read_compute_write(inputs.cases.values(), job.read, job.predict, job.write, ahead=ahead)
        ) as outcomes,
    ):
        for case, outcome in outcomes:
            if isinstance(outcome, _Failed):
                logger.info("%s", outcome.reason)
                failed[case.identifier] = outcome.reason
            else:
                done[case.identifier] = outcome
            bar.advance(note=case.identifier)
    return done, dict(sorted(failed.items()))


def _attempt(identifier: str, work: Callable[[], T]) -> T | _Failed:
    """Faults of a case become its outcome; a fault of the program ends the call."""
    try:
        return work()
    except SegflowError as problem:
        return _Failed(str(problem))
    except OSError as problem:
        return _Failed(f"case {identifier}: {problem}")
    except (MemoryError, RuntimeError) as problem:  # torch has no class of its own for the CPU's memory
        if not isinstance(problem, MemoryError) and "memory" not in str(problem).lower():
            raise
        return _Failed(
            f"case {identifier} does not fit into memory ({problem}); try --ahead 0, or a machine with more memory"
        )


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


def _report_name(part: int, parts: int) -> str:
    return "prediction.json" if parts == 1 else f"prediction_{part}_of_{parts}.json"


def _known(output: Path) -> dict[str, Entry]:
    """What earlier calls have made, whatever their shards."""
    known: dict[str, Entry] = {}
    for file in sorted({*output.glob("prediction.json"), *output.glob("prediction_*_of_*.json")}):
        cases = read_contract(Prediction, file, error=PredictionError).cases
        known |= {name: Entry(key=case.key, files=case.files) for name, case in cases.items()}
    return known


def _report(
    predictor: Predictor,
    model: str,
    options: argparse.Namespace,
    done: dict[str, PredictedCase],
    failed: dict[str, str],
) -> Prediction:
    return Prediction(
        model=model,
        data=predictor.card.dataset,
        candidate=predictor.card.selection.best.name,
        folds=tuple(options.folds or predictor.card.folds),
        inference=predictor.recipe.model_dump(),
        device=predictor.device,
        versions=versions(),
        cases=dict(sorted(done.items())),
        failed=failed,
    )
