"""`segflow predict`: label new images with a model package."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter

from segflow.commands.arguments import (
    CORES,
    Ahead,
    Call,
    Device,
    InputPath,
    ModelPackage,
    OutputPath,
    Shard,
    Threads,
)
from segflow.commands.console import console, logger, progress_bar
from segflow.commands.prediction_files import OPTIONAL, Outputs, part_of
from segflow.commands.prediction_passes import announce
from segflow.contracts.arrays import Image, LabelMap, SpacingMm
from segflow.contracts.case import Case, CaseRecord
from segflow.contracts.errors import ConfigurationError, PredictionError, SegflowError, sentence_of
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.labels import Labels
from segflow.contracts.model import ModelCard, PredictedCase, Prediction
from segflow.contracts.plan import FoldName
from segflow.fingerprint.consistency import unusual_spacings
from segflow.images.case_files import Inputs
from segflow.images.cases import read_case, write_labels
from segflow.images.dicom.concepts import Origin, read_codes
from segflow.images.dicom.studies import find_images
from segflow.images.dicom.writing import LabelFormat, check_holds, write_dicom
from segflow.images.formats import DICOM, companions, digest_of_image, format_of, has_orientation, has_spacing
from segflow.images.image_files import check_axes, write_image
from segflow.metrics.measure import measure
from segflow.prediction.threads import read_compute_write
from segflow.recipes.inference import Precision
from segflow.storage.files import key_of, open_atomically, read_contract, versions, write_json, write_text
from segflow.storage.packages import CODES
from segflow.storage.probabilities import read_probabilities, write_probabilities
from segflow.storage.results import ResultFolder, open_journal

_IMAGES = "probability images"
#: What may be wanted besides the label maps, and how.
_WANTED = ("probabilities", _IMAGES, "lowres", "statistics", "preview")

if TYPE_CHECKING:  # these need torch, and the command line's help does not
    from segflow.prediction.predictor import Predictor, ReadyCase


@dataclass(frozen=True)
class _Ready:
    case: Case
    key: str
    content: ReadyCase
    image: Image | None


@dataclass(frozen=True)
class _Labelled:
    case: Case
    key: str
    record: CaseRecord
    labels: LabelMap
    image: Image | None
    kept: CaseRecord | None = None  # for the grid of the probabilities


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What happens to a case: reading, prediction and writing, each of which may run beside the others.

    Attributes:
        predictor: The model.
        outputs: Names of files.
        wanted: Which of the optional ones are written.
        common: Key of all that the cases share.
        journal: What this call makes, and earlier ones made.
        spacings: Of the training cases, if they are known.
        format: Of label maps.
        origin: What DICOM objects say of the model.
    """

    predictor: Predictor
    outputs: Outputs
    wanted: Collection[str]
    common: str
    journal: ResultFolder
    spacings: tuple[SpacingMm, ...]
    format: LabelFormat
    origin: Origin

    def read(self, case: Case) -> _Ready | PredictedCase:
        """The case, network-ready; or what is there already."""
        key = key_of(self.common, *(f"{file.name} {digest_of_image(file)}" for file in case.images))
        made = self.journal.find(case.identifier, key)
        if made is not None:
            return PredictedCase(key=key, files=made.files)
        raw = read_case(case, channels=self.predictor.channels)
        check_axes(self.outputs.labels(case), raw.geometry)
        unusual = unusual_spacings({case.identifier: raw.geometry.spacing_mm}, self.spacings)
        for warning in (*raw.warnings, *unusual):
            logger.warning("%s", warning)
        is_needed = "statistics" in self.wanted or "preview" in self.wanted
        return _Ready(case, key, self.predictor.prepare(raw), raw.image if is_needed else None)

    def predict(self, item: _Ready) -> _Labelled:
        """Its label map; probabilities are written at once, as they come plane by plane."""
        record = item.content.record
        if not {"probabilities", _IMAGES} & {*self.wanted}:
            return _Labelled(item.case, item.key, record, self.predictor.label(item.content), item.image)
        file, model, is_lowres = (
            self.outputs.optional("probabilities", item.case),
            self.predictor,
            "lowres" in self.wanted,
        )
        kept = model.lowres_record(item.content) if is_lowres else record
        with write_probabilities(file, kept, model.preparation, n_outputs=model.labels.n_outputs) as keep:
            found = model.label(item.content, keep=keep, lowres=is_lowres)
        return _Labelled(item.case, item.key, record, found, item.image, kept)

    def write(self, item: _Labelled) -> PredictedCase:
        """Write the label map and what belongs to it, remove what an earlier call added, and note that it is done."""
        case, geometry = item.case, item.record.geometry
        found = self.predictor.postprocess(item.labels, geometry.spacing_mm)
        labels, file = self.predictor.labels, self.outputs.labels(case)
        files = {kind: self.outputs.optional(kind, case) for kind in OPTIONAL}
        images = self.outputs.probability_images(case, labels.n_outputs)
        for number, image in enumerate(images):
            if item.kept is not None and _IMAGES in self.wanted:
                (own,) = read_probabilities(
                    files["probabilities"], has_regions=labels.has_regions, target=number
                )
                write_image(image, own, item.kept.geometry)
            else:
                image.unlink(missing_ok=True)
        for kind in OPTIONAL.keys() - self.wanted:
            files.pop(kind).unlink(missing_ok=True)
        if self.format == "image":
            write_labels(file, found, geometry)
        else:
            write_dicom(file, self.format, found, geometry, source=case.images[0], origin=self.origin)
        if item.image is not None and "statistics" in self.wanted:
            spacing_mm = geometry.file_spacing_mm if has_spacing(case.images[0]) else ()
            rows = measure(case.identifier, item.image, found, labels, spacing_mm)
            write_json(files["statistics"], [row.model_dump(mode="json") for row in rows])
        if item.image is not None and "preview" in self.wanted:
            _draw(files["preview"], item, item.image, found, labels)
        beside = companions(file) if self.format == "image" else ()
        noted = (file, *beside, *files.values(), *(images if _IMAGES in self.wanted else ()))
        made = self.journal.note(case.identifier, item.key, files=noted)
        return PredictedCase(key=item.key, files=made.files)


def predict(
    *,
    model: Annotated[ModelPackage, Parameter(alias="-m")],
    input: Annotated[list[InputPath], Parameter(alias="-i")],  # noqa: A002  the option's name
    output: Annotated[OutputPath, Parameter(alias="-o")],
    series: list[str] | None = None,
    format: LabelFormat = "image",  # noqa: A002  the option's name
    fast: bool = False,
    quality: bool = False,
    folds: list[FoldName] | None = None,
    step: float | None = None,
    mirroring: Annotated[bool | None, Parameter(negative="--no-mirroring")] = None,
    precision: Precision | None = None,
    save_probabilities: Annotated[
        list[Literal["npz", "nifti"]] | None, Parameter(consume_multiple=(0, 2), negative=())
    ] = None,
    save_lowres: bool = False,
    statistics: bool = False,
    preview: bool = False,
    resume: bool = False,
    shard: Shard = (1, 1),
    ahead: Ahead = 1,
    device: Device = "auto",
    threads: Threads = CORES,
    call: Call = Call(),
) -> None:
    """Label new images with a model package.

    The number of forward passes is printed before the first. A case that fails is named at the end; the others are
    written.

    Args:
        model: Model package: its folder, its model.json or the experiment's folder.
        input: Folder of images IDENTIFIER_0000.ending, ..., or such files themselves; with one channel also
            IDENTIFIER.ending. Or a folder of DICOM files, with the series of a study.
        output: Folder of the label maps IDENTIFIER.ending; for a single image also the file of its label map.
        series: Of DICOM: numbers or UIDs of the series to label; with several channels one for each, in their order
            (default: the only one).
        format: Of the label maps: that of their images (NIfTI of DICOM), or an object IDENTIFIER.dcm of the study of a
            DICOM image: dicom-seg with a segment per class or region; dicom-labelmap, which few programs read yet;
            dicom-rtstruct with contours.
        fast: One fold's networks, without mirroring; --folds, --step and --mirroring override it.
        quality: All folds, the model's mirroring, and a step of at most 0.25: several times as long as the default.
        folds: Use only these folds' networks (default: all packed).
        step: Tile distance as a share of the patch (default: the model's).
        mirroring: Average over mirrored inputs (default: the model's).
        precision: Of the networks' arithmetic (default: the model's); bfloat16 is fast on CPUs that have units for it.
        save_probabilities: Also write OUTPUT/probabilities/IDENTIFIER.npz; or with nifti a file of float32 for each
            class or region, IDENTIFIER_0000.nii.gz, ..., in the geometry of the image; npz nifti writes both. They
            are multiples of 1/255.
        save_lowres: Write these probabilities on the grid of the network, which is small where images are large:
            cropped, with the spacing of the plan.
        statistics: Also write OUTPUT/statistics.csv and .json: voxels, volume and mean intensities of every class.
        preview: Also draw OUTPUT/preview/IDENTIFIER.png.
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
    if fast and quality:
        raise ConfigurationError("--fast and --quality are opposites; name one of them")
    predictor = Predictor.from_folder(
        model,
        folds=folds,
        device=device,
        step=step,
        mirroring=mirroring,
        precision=precision,
        effort="fast" if fast else "quality" if quality else None,
        threads=threads,
    )
    inputs = part_of(find_images(input, predictor.ending, predictor.channels, series=series or ()), shard)
    outputs = Outputs.at(output, inputs, shard, "" if format == "image" else DICOM)
    _check_format(format, inputs, predictor.labels)
    report, unfinished = (outputs.of_call("prediction", ending) for ending in (".json", ".unfinished"))
    wanted = _wanted(
        predictor.card, save_probabilities, lowres=save_lowres, statistics=statistics, preview=preview
    )
    known = outputs.known() if resume else {}
    outputs.remove_tables()
    if not resume:
        report.unlink(missing_ok=True)
        shutil.rmtree(unfinished, ignore_errors=True)
    origin = _origin(predictor, model)
    common = key_of(
        call.code,
        predictor.digest,
        predictor.recipe.to_json(),
        *(f"{name} {number}" for name, number in versions().items()),
        f"{predictor.device} {' '.join([*wanted, format])}",
        *(map(repr, sorted(origin.codes.items())) if format != "image" else ()),
    )
    announce(predictor, inputs, suggest=not fast)
    with open_journal(unfinished, known=known) as journal:
        job = _Job(
            predictor=predictor,
            outputs=outputs,
            wanted=wanted,
            common=common,
            journal=journal,
            spacings=_spacings(model),
            format=format,
            origin=origin,
        )
        done, failed = _worked_through(job, inputs, ahead)
        if statistics:
            outputs.write_statistics([inputs.cases[name] for name in sorted(done)])
        made = Prediction(
            model=predictor.digest,
            data=predictor.card.dataset,
            candidate=predictor.card.selection.best.name,
            folds=predictor.folds,
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


def _wanted(
    card: ModelCard, probabilities: list[Literal["npz", "nifti"]] | None, *, lowres: bool, **others: bool
) -> list[str]:
    """Those of `_WANTED` that are asked for; --save-probabilities alone asks for npz."""
    if lowres and probabilities is None:
        raise ConfigurationError("--save-lowres: name --save-probabilities with it")
    if lowres and len(card.configurations) > 1:
        raise ConfigurationError(
            f"--save-lowres: {card.selection.best.name} averages two networks with different grids, so their "
            "probabilities exist on the image's grid only; leave it out"
        )
    kept = ["npz"] if probabilities == [] else probabilities or []
    asked = ("npz" in kept, "nifti" in kept, lowres, *others.values())
    return [kind for kind, is_asked in zip(_WANTED, asked, strict=True) if is_asked]


def _check_format(wanted: LabelFormat, inputs: Inputs, labels: Labels) -> None:
    """Refuse objects of a study for images that belong to none, and one that cannot hold what is predicted."""
    other = next((c.images[0] for c in inputs.cases.values() if format_of(c.images[0]) != DICOM), None)
    if wanted != "image" and other is not None:
        raise ConfigurationError(
            f"--format {wanted}: {other} is no DICOM image, and the result would belong to no study; leave out --format"
        )
    check_holds(wanted, labels)


def _origin(predictor: Predictor, model: Path) -> Origin:
    return Origin(
        labels=predictor.labels,
        model=predictor.card.dataset,
        digest=predictor.digest,
        version=versions()["segflow"],
        codes=read_codes(model / CODES, predictor.labels),
    )


def _draw(file: Path, item: _Labelled, image: Image, found: LabelMap, labels: Labels) -> None:
    """A picture of one slice, in which the prediction has the solid lines of a reference, as there is none."""
    from segflow.reporting.overlay import cut_slice, draw_overlay, view_of  # needs matplotlib

    oriented = has_orientation(item.case.images[0])
    view = view_of(image, np.zeros_like(found), found, item.record.geometry, has_orientation=oriented)
    pair = cut_slice(view, labels)
    caption = ", ".join(filter(None, (item.case.identifier, pair.note)))
    with open_atomically(file) as temporary:
        temporary.write_bytes(draw_overlay(pair, labels, caption=caption))


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


def _spacings(model: Path) -> tuple[SpacingMm, ...]:
    """Those of the training cases; none where a package has no fingerprint."""
    file = model / "dataset_fingerprint.json"
    return read_contract(Fingerprint, file, error=PredictionError).spacings if file.exists() else ()
