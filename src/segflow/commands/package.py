"""`segflow package`: put the chosen model together in one folder that `segflow predict` understands."""

from __future__ import annotations

from segflow.commands.arguments import Call, DatasetFile, InputFile, InputFolder, ResultFile
from segflow.commands.console import console
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.model import ModelCard
from segflow.contracts.plan import FoldName, Plan
from segflow.contracts.scores import PostProcessing, Selection
from segflow.images.dataset import read_description
from segflow.images.formats import spacings_are_stored
from segflow.nnunet.plans import read_plan
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.settings import parse_settings
from segflow.reporting.model_card import model_card_text
from segflow.storage.files import copy_file, digests_of, read_contract, versions, write_text
from segflow.storage.packages import MODEL_CARD, copy_description, weights_file


def package(
    *,
    dataset: DatasetFile,
    fingerprint: InputFile,
    plan: InputFile,
    selection: InputFile,
    postprocessing: InputFile,
    models: InputFolder,
    folds: list[FoldName],
    output: ResultFile,
    recipe: str,
    settings: tuple[str, ...] = (),
    call: Call = Call(),
) -> None:
    """Put the chosen model together in one folder that `segflow predict` understands, with a model card.

    Args:
        dataset: The data set's folder or dataset.json.
        fingerprint: dataset_fingerprint.json.
        plan: plans.json.
        selection: selection.json.
        postprocessing: postprocessing.json.
        models: Folder with CONFIGURATION/fold_K/model.pt.
        folds: Folds whose networks are packed.
        output: The package's model.json; written last.
        recipe: Its name, for people.
        settings: Values of the recipe's section "inference", such as inference.mirroring=false.
        call: The call.

    Source: method.md sections 22-24.
    """
    from segflow.storage.weights import load_network, save_network  # needs torch

    planned = read_plan(plan)
    choice = read_contract(Selection, selection)
    chosen = choice.best.configurations
    stages = _previous_stages(planned, chosen)
    folder = output.parent
    output.unlink(missing_ok=True)
    earlier = (*folder.glob("*/fold_*.*"), folder / "model.json.provenance")  # of another choice or version
    for left in earlier:
        left.unlink(missing_ok=True)
    files = [folder / "dataset.json"]
    copy_description(dataset, folder / "dataset.json")
    for source in (fingerprint, plan):
        files.append(folder / source.name)
        copy_file(source, files[-1])
    for configuration in (*stages, *chosen):
        for fold in folds:
            source = models / configuration / f"fold_{fold}" / "model.pt"
            call.reads(source)
            files.append(weights_file(folder, configuration, fold))
            network_card, network = load_network(source)
            save_network(files[-1], network_card, network.state_dict())
    card = ModelCard(
        dataset=planned.dataset_name,
        recipe=recipe,
        inference=parse_settings(InferenceRecipe, "inference", settings).model_dump(),
        configurations=chosen,
        stages=stages,
        folds=tuple(folds),
        postprocessing=read_contract(PostProcessing, postprocessing),
        selection=choice,
        versions=versions(),
        files=digests_of(folder, sorted(files)),
    )
    description, labels = read_description(folder / "dataset.json")
    measured = read_contract(Fingerprint, fingerprint)
    known = spacings_are_stored(description["file_ending"], measured.spacings)
    text = model_card_text(card, description, labels, measured, has_spacing=known)
    write_text(folder / MODEL_CARD, text)
    write_text(output, card.to_json())
    console.print(f"model package: {folder}")


def _previous_stages(plan: Plan, chosen: tuple[str, ...]) -> tuple[str, ...]:
    before = (plan.configuration(name).previous_stage for name in chosen)
    return tuple(dict.fromkeys(name for name in before if name is not None and name not in chosen))
