"""Models of nnU-Net and of segflow, folders or zips, made into packages. Source: method.md sections 15, 23, 24."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile, is_zipfile

from segflow.contracts.errors import PredictionError
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.labels import Labels
from segflow.contracts.model import ModelCard, NetworkCard
from segflow.contracts.plan import Configuration, FoldName, Plan
from segflow.contracts.scores import Candidate, PostProcessing, Selection
from segflow.images.dataset import check_reader, read_description
from segflow.images.formats import spacings_are_stored
from segflow.network.unet import build_network
from segflow.network.weights import load_weights_
from segflow.nnunet.checkpoints import NNUNET_TRAINER, NnunetCheckpoint, load_nnunet_checkpoint
from segflow.nnunet.exported import OWN_FOLDER
from segflow.nnunet.plans import read_plan, write_plan
from segflow.nnunet.postprocessing import UNKNOWN, postprocessing_file, read_postprocessing
from segflow.recipes.inference import InferenceRecipe
from segflow.reporting.model_card import model_card_text
from segflow.selection.choose import candidate_name
from segflow.storage.files import (
    DAMAGE,
    digests_of,
    read_contract,
    read_json,
    temporary_folder,
    versions,
    write_text,
)
from segflow.storage.packages import (
    CARD,
    CODES,
    FINGERPRINT,
    MODEL_CARD,
    PLAIN,
    copied,
    copy_description,
    copy_package,
    read_card,
    refuse_package,
    weights_file,
    weights_files,
)
from segflow.storage.weights import save_network

__all__ = ["Wanted", "import_model"]

_logger = logging.getLogger("segflow")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is imported.

    Attributes:
        configurations: Of a data set's results, if they hold several; if empty, what nnU-Net has chosen, or all.
        folds: If empty, those with a number in the first folder, or else fold_all.
        checkpoint: Name of the file in each fold's folder.
        postprocessing: nnU-Net's postprocessing.json (default: the one that lies with the results).
    """

    configurations: Sequence[str] = ()
    folds: Sequence[FoldName] = ()
    checkpoint: str = "checkpoint_final.pth"
    postprocessing: Path | None = None


def import_model(sources: Sequence[Path], package: Path, wanted: Wanted) -> None:
    """Make a model package; model.json is written last.

    Args:
        sources: A package of segflow, or what `segflow export zip` has made of it; or results of nnU-Net: folders of
            configurations, such as nnUNetTrainer__nnUNetPlans__3d_fullres, or of a whole data set. Each is a folder or
            a zip. The networks of several are averaged; a cascade also needs those of its previous stage.
        package: Folder of the package.
        wanted: What to import of nnU-Net's results.

    Raises:
        PredictionError: A source is no model, is damaged, or does not go with the others; a fold, a checkpoint or a
            previous stage is missing; or the folder holds a package.
        DatasetError, PlanError: dataset.json or plans.json cannot be used.
        TrainingError: A network is one that segflow does not have, or not that of the plan.
    """
    refuse_package(package)
    with _unpacked(sources, package.parent) as folders:
        own = [found for folder in folders for found in _cards(folder)]
        if not own:
            found = [
                one
                for source, folder in zip(sources, folders, strict=True)
                for one in _results(source, folder, wanted)
            ]
            _import_results(found, package, wanted)
        elif len(folders) > 1 or len(own) > 1:
            there = sources if len(folders) > 1 else [file.parent for file in own]
            raise PredictionError(
                f"a package of segflow is imported by itself; name one of {', '.join(map(str, there))}"
            )
        else:
            _import_own(own[0].parent, package)


@contextmanager
def _unpacked(sources: Sequence[Path], beside: Path) -> Iterator[list[Path]]:
    """Every source as a folder; zips are unpacked for the time of the block."""
    with temporary_folder(beside) as temporary:
        folders = []
        for number, source in enumerate(sources):
            folders.append(source if source.is_dir() else temporary / str(number))
            if source.is_dir():
                continue
            if not is_zipfile(source):
                raise PredictionError(f"{source} is neither a folder nor a zip, or is damaged; copy it again")
            try:
                with ZipFile(source) as archive:
                    archive.extractall(folders[-1])
            except (BadZipFile, zlib.error, *DAMAGE) as problem:
                raise PredictionError(f"{source} cannot be unpacked ({problem}); copy it again") from None
        yield folders


def _cards(folder: Path) -> list[Path]:
    """model.json of packages of segflow, at most two folders down."""
    return [file for depth in ("", "*/", "*/*/") for file in sorted(folder.glob(f"{depth}{CARD}"))]


def _import_own(folder: Path, package: Path) -> None:
    """A package, or one whose weights are in the checkpoints beside it."""
    if folder.name != OWN_FOLDER:
        copy_package(folder, package)
        return
    card = read_card(folder)
    plain = copied(folder, package, (*PLAIN, FINGERPRINT, CODES, MODEL_CARD))
    name = read_plan(folder / "plans.json").plans_name
    made = []
    for configuration, files in weights_files(package, card).items():
        results = folder.parent / f"{NNUNET_TRAINER}__{name}__{configuration}"
        for file in files:
            checkpoint = results / file.stem / "checkpoint_final.pth"
            found = load_nnunet_checkpoint(checkpoint)
            if found.card is None:
                raise PredictionError(f"{checkpoint} is not the one that segflow has written; copy it again")
            made.append(weights_file(package, configuration, found.card.fold))
            _save(made[-1], found.card, found, where=checkpoint)
    files_of = [*(file for file in plain if file.name != MODEL_CARD), *made]
    card = card.model_copy(update={"files": digests_of(package, sorted(files_of))})
    write_text(package / CARD, card.to_json())


@dataclass(frozen=True, kw_only=True)
class _Results:
    """nnU-Net's results of one configuration, and what it is called in the package."""

    folder: Path
    plan: Plan
    name: str
    checkpoints: Mapping[FoldName, NnunetCheckpoint]

    @property
    def configuration(self) -> str:
        """What it is called in its plan."""
        return next(iter(self.checkpoints.values())).configuration

    @property
    def made_by(self) -> tuple[str, str]:
        """Plan and trainer, which a cascade and its previous stage mostly have in common."""
        return self.plan.plans_name, next(iter(self.checkpoints.values())).trainer


def _results(source: Path, folder: Path, wanted: Wanted) -> list[Path]:
    """The results folders of a source: itself, or those of a data set."""
    found = [
        file.parent
        for depth in ("", "*/", "*/*/")
        for file in sorted(folder.glob(f"{depth}plans.json"))
        if any(file.parent.glob("fold_*"))
    ]
    if not found:
        raise PredictionError(
            f"{source} has no folds (fold_0, fold_1, ...) and is no model package; name a folder of nnU-Net's results "
            "or a package"
        )
    if found == [folder]:
        return found

    def names_of(one: Path) -> set[str]:
        return {one.name, _configuration(one)}

    names = wanted.configurations or _chosen(found[0].parent) or [_configuration(one) for one in found]
    used = [one for one in found if names_of(one) & {*names}]
    if len(found) > 1 and not wanted.configurations:
        _logger.info("of %s: %s", source, ", ".join(one.name for one in used))
    missing = set(names).difference(*map(names_of, used))
    if missing:
        has = ", ".join(one.name for one in found)
        raise PredictionError(f"{source} has no configuration {min(missing)}; it has {has}")
    return used


def _configuration(folder: Path) -> str:
    return folder.name.rpartition("__")[2]


def _chosen(dataset: Path) -> list[str]:
    """What nnU-Net has chosen among a data set's results, previous stages included; empty if it has not.

    Names of folders, where trainer and plan are noted, or else of configurations.
    """
    file = dataset / "inference_information.json"
    if not file.exists():
        return []
    found = read_json(file, error=PredictionError)
    try:
        models = found["best_model_or_ensemble"]["selected_model_or_models"]
        names = [
            "__".join(
                str(model[key]) for key in ("trainer", "plans_identifier", "configuration") if key in model
            )
            for model in models
        ]
    except (KeyError, TypeError):
        raise PredictionError(
            f"{file} names no best model as nnU-Net does; name what to import with --configurations"
        ) from None
    cascades = [name for name in names if name.endswith("3d_cascade_fullres")]
    return [*(name.replace("3d_cascade_fullres", "3d_lowres") for name in cascades), *names]


def _import_results(folders: Sequence[Path], package: Path, wanted: Wanted) -> None:
    description, labels = read_description(folders[0] / "dataset.json")
    _check_alike(folders)
    folds = tuple(wanted.folds) or _folds(folders[0])
    results = _named([_read_results(folder, folds, wanted.checkpoint) for folder in folders])
    plan = _merged(results)
    files = []
    for result in results:
        for fold, checkpoint in result.checkpoints.items():
            network = _network_card(
                plan.configuration(result.name), len(description["channel_names"]), labels, fold, checkpoint
            )
            files.append(weights_file(package, result.name, fold))
            _save(files[-1], network, checkpoint, where=result.folder / f"fold_{fold}")
    copy_description(folders[0] / "dataset.json", package / "dataset.json")
    write_plan(package / "plans.json", plan)
    files += [package / name for name in PLAIN] + copied(folders[0], package, [FINGERPRINT])
    stages = {plan.configuration(result.name).previous_stage for result in results}
    chosen = [result.folder for result in results if result.name not in stages]
    noted = wanted.postprocessing or postprocessing_file(chosen, folds)
    card = _model_card(plan, results, folds, UNKNOWN if noted is None else read_postprocessing(noted))
    card = card.model_copy(update={"files": digests_of(package, sorted(files))})
    known = package / FINGERPRINT
    fingerprint = read_contract(Fingerprint, known) if known.exists() else None
    known_spacing = spacings_are_stored(
        description["file_ending"], fingerprint.spacings if fingerprint else ()
    )
    text = model_card_text(card, description, labels, fingerprint, has_spacing=known_spacing)
    write_text(package / MODEL_CARD, text)
    write_text(package / CARD, card.to_json())


def _save(file: Path, card: NetworkCard, found: NnunetCheckpoint, *, where: Path) -> None:
    """A checkpoint's network as a file of the package, if it is the one of its card."""
    network = build_network(
        card.configuration.architecture, input_channels=card.input_channels, output_channels=card.n_outputs
    )
    load_weights_(network, found.weights, where=str(where))
    save_network(file, card, network.state_dict())


def _check_alike(folders: Sequence[Path]) -> None:
    """Networks whose outputs are averaged must see the same channels and say the same labels."""
    first, *others = (read_description(folder / "dataset.json") for folder in folders)
    for (description, labels), folder in zip(others, folders[1:], strict=True):
        if labels.as_json != first[1].as_json or description["channel_names"] != first[0]["channel_names"]:
            raise PredictionError(
                f"{folder} has other channels or labels than {folders[0]}; the networks of several folders are "
                "averaged, so they must be those of one data set"
            )


def _read_results(folder: Path, folds: Sequence[FoldName], checkpoint: str) -> _Results:
    plan = read_plan(folder / "plans.json")
    check_reader(plan.image_reader_writer, f"{folder / 'plans.json'}: image_reader_writer")
    found = {fold: load_nnunet_checkpoint(folder / f"fold_{fold}" / checkpoint) for fold in folds}
    for one in found.values():
        if one.trainer != NNUNET_TRAINER:
            _logger.warning("%s was trained by %s, which may predict in another way", folder, one.trainer)
    return _Results(folder=folder, plan=plan, name=found[folds[0]].configuration, checkpoints=found)


def _named(results: Sequence[_Results]) -> list[_Results]:
    """Results with a name each: a second 3d_fullres, of another plan or trainer, is called 3d_fullres_2."""
    taken: list[str] = []
    named = []
    for result in results:
        names = (result.name, *(f"{result.name}_{number}" for number in range(2, len(results) + 1)))
        taken.append(next(name for name in names if name not in taken))
        named.append(_Results(**{**vars(result), "name": taken[-1]}))
    return named


def _merged(results: Sequence[_Results]) -> Plan:
    """The first plan, with the configurations of the others under their names."""
    plan = results[0].plan
    stages: dict[tuple[str, ...], str] = {
        (result.plan.plans_name, result.configuration): result.name for result in results
    }
    stages |= {(*result.made_by, result.configuration): result.name for result in results}
    found = {}
    for result in results:
        other = result.plan
        if (other.transpose_forward, other.intensities) != (plan.transpose_forward, plan.intensities):
            raise PredictionError(
                f"{result.folder} was planned for other data than {results[0].folder} (axes or intensities differ)"
            )
        configuration = other.configuration(result.configuration)
        before = configuration.previous_stage
        stage = before and (stages.get((*result.made_by, before)) or stages.get((other.plans_name, before)))
        if before is not None and stage is None:
            raise PredictionError(
                f"a cascade needs the folder of its previous stage {before} as well, of the plan {other.plans_name}"
            )
        update = {"name": result.name, "previous_stage": stage}
        found[result.name] = configuration.model_copy(update=update)
    return plan.model_copy(update={"configurations": plan.configurations | found})


def _network_card(
    configuration: Configuration, channels: int, labels: Labels, fold: FoldName, found: NnunetCheckpoint
) -> NetworkCard:
    cascade = configuration.previous_stage is not None
    own = found.card
    return NetworkCard(
        configuration=configuration,
        input_channels=channels + (len(labels.foreground_values) if cascade else 0),
        n_outputs=labels.n_outputs,
        fold=fold,
        seed=own.seed if own else 0,
        epochs=found.epochs,
        iterations=own.iterations if own else None,
        device=own.device if own else "nnU-Net",
    )


def _folds(folder: Path) -> tuple[FoldName, ...]:
    found = sorted(int(path.name[5:]) for path in folder.glob("fold_*") if path.name[5:].isdecimal())
    return tuple(found) if found else ("all",)


def _model_card(
    plan: Plan, results: Sequence[_Results], folds: tuple[FoldName, ...], postprocessing: PostProcessing
) -> ModelCard:
    """With the score that nnU-Net has noted with its post-processing, if it has."""
    names = [result.name for result in results]
    before = {plan.configuration(name).previous_stage for name in names} - {None}
    chosen = tuple(name for name in names if name not in before)
    best = Candidate(
        name=candidate_name(chosen),
        configurations=chosen,
        foreground_mean_dice=postprocessing.foreground_mean_dice_before,
        summary="",
    )
    axes = [found.mirroring for result in results for found in result.checkpoints.values()]
    common = tuple(axis for axis in ("z", "y", "x") if all(axis in found for found in axes))
    mirroring = common if 0 < len(common) < 3 else bool(common)
    inference = InferenceRecipe().model_copy(update={"mirroring": mirroring})
    return ModelCard(
        dataset=plan.dataset_name,
        recipe="nnU-Net",
        inference=inference.model_dump(),
        configurations=chosen,
        stages=tuple(name for name in names if name in before),
        folds=folds,
        postprocessing=postprocessing,
        selection=Selection(best=best, candidates=(best,)),
        versions=versions(),
    )
