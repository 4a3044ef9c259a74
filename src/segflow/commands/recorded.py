"""What the jobs of an experiment noted of themselves, beside their results."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

from segflow.commands.outcome import Outcome
from segflow.commands.plan import plan_input
from segflow.commands.provenance import provenance_file
from segflow.contracts.artefacts import Provenance
from segflow.contracts.assessment import EvaluationConfig
from segflow.contracts.errors import ConfigurationError, PlanError
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.model import NetworkCard
from segflow.contracts.plan import N_FOLDS, in_order
from segflow.contracts.reasons import PlanReasons
from segflow.planning.plan import make_plan_with_reasons
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.selection import PostprocessingRecipe, SelectionRecipe
from segflow.recipes.settings import parse_settings, settings_of
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe
from segflow.storage.files import read_contract

__all__ = ["plan_reasons", "provenance_rows", "read_provenance", "training_devices", "training_recipes"]

#: Of the default recipe, by section.
_DEFAULTS: Final = {
    "planning": PlannerRecipe(),
    "training": TrainingRecipe(),
    "augmentation": AugmentationRecipe(),
    "inference": InferenceRecipe(),
    "selection": SelectionRecipe(),
    "postprocessing": PostprocessingRecipe(),
    "evaluation": EvaluationConfig(),
}


def read_provenance(result: Path) -> Provenance | None:
    """How a result was made; None where it was made by hand, or an earlier version has noted it otherwise."""
    with suppress(PlanError):
        return read_contract(Provenance, provenance_file(result))
    return None


def training_recipes(outcome: Outcome) -> dict[str, tuple[TrainingRecipe, AugmentationRecipe]]:
    """How each configuration was trained, as far as its jobs have noted it in words that are still known."""
    used = {}
    for configuration, made in _trainings(outcome):
        words = _words(made.command, "training", "augmentation")
        with suppress(ConfigurationError):  # values of an earlier version
            weights = {"pretrained": next(iter(_after(made.command, "--pretrained")), None)}
            used[configuration] = (
                parse_settings(TrainingRecipe, "training", words).model_copy(update=weights),
                parse_settings(AugmentationRecipe, "augmentation", words),
            )
    return used


def training_devices(outcome: Outcome) -> tuple[str, ...]:
    """Names of the devices that networks were trained on."""
    return tuple(sorted({made.device for _, made in _trainings(outcome)}))


def plan_reasons(outcome: Outcome, fingerprint: Fingerprint) -> PlanReasons | None:
    """Why the plan is as it is, by making it again; None if that cannot be done, or it comes out otherwise."""
    noted = _plan_command(outcome)
    if not noted:
        return None
    try:
        recipe = parse_settings(PlannerRecipe, "planning", _words(noted, "planning"))
    except ConfigurationError:  # values of an earlier version
        return None
    about = plan_input(outcome.folder / "model" / "dataset.json")
    made, reasons = make_plan_with_reasons(fingerprint, about, recipe)
    same = made.configurations == {
        name: outcome.plan.configurations.get(name) for name in made.configurations
    }
    return reasons if same else None


def _plan_command(outcome: Outcome) -> tuple[str, ...]:
    """What made the plan of the package; empty if that is not known."""
    packed = (outcome.folder / "model" / "plans.json").read_bytes()
    for file in sorted((outcome.of_dataset / "plans").glob("*/plans.json")):
        noted = read_provenance(file)
        if noted and file.read_bytes() == packed:
            return noted.command
    return ()


def _words(command: Iterable[str], *sections: str) -> list[str]:
    """Values of a recipe in a command, such as "training.epochs=100"."""
    return [word for word in command if word.partition(".")[0] in sections and "=" in word]


def provenance_rows(outcome: Outcome, networks: Sequence[NetworkCard]) -> tuple[tuple[str, str], ...]:
    """Name and value of what made the results, and how to repeat and to use them; no folder of this machine."""
    card = outcome.card
    mirrored = card.inference["mirroring"]
    rows = {
        "date": _dates(outcome),
        "recipe": card.recipe,
        "folds": ", ".join(map(str, card.folds)),
        "epochs": ", ".join(sorted({str(network.epochs) for network in networks})),
        "seed": ", ".join(sorted({str(network.seed) for network in networks})),
        "device": ", ".join(training_devices(outcome) or sorted({network.device for network in networks})),
        "mirroring": ", ".join(mirrored) if isinstance(mirrored, tuple) else "yes" if mirrored else "no",
        "tile step": f"{card.inference['step']:g}",
        **card.versions,
        "to repeat it": _repeat_command(outcome, networks),
        "to predict": "segflow predict --model model --input IMAGES --output LABELS "
        "(model: the folder of that name in the results)",
        "to cite": "doi:10.1038/s41592-020-01008-z (nnU-Net), and what references.bib lists",
    }
    return tuple((name, value) for name, value in rows.items() if value)


def _dates(outcome: Outcome) -> str:
    """From the first training to the package; empty if they are not known."""
    packed = read_provenance(outcome.folder / "model" / "model.json")
    started = [made.started[:10] for _, made in _trainings(outcome)]
    if not started or packed is None:
        return ""
    return " to ".join(dict.fromkeys((min(started), packed.finished[:10])))


def _repeat_command(outcome: Outcome, networks: Sequence[NetworkCard]) -> str:
    """The call with these values, whatever recipe they are from; empty if no training has noted them."""
    commands = [made.command for _, made in _trainings(outcome)]
    if not commands:
        return ""
    card = outcome.card
    trained = in_order(network.configuration.name for network in networks)
    call = ["segflow", "run", card.dataset, "--configurations", *trained]
    if card.folds != tuple(range(N_FOLDS)):
        call += ["--folds", *map(str, card.folds)]
    call += ["--seed", str(networks[0].seed)]
    if len(card.selection.candidates) == len(trained) > 1:
        call.append("ensembles=false")
    return shlex.join([*call, *_changes(outcome, commands)])


def _changes(outcome: Outcome, trainings: Sequence[tuple[str, ...]]) -> list[str]:
    """Values that differ from those of the default recipe."""
    card = outcome.card
    plan, search = _plan_command(outcome), read_provenance(outcome.folder / "postprocessing.json")
    sizes: dict[str, int] = {}
    found: list[str] = []
    for command in trainings:
        own = parse_settings(TrainingRecipe, "training", _words(command, "training"))
        sizes |= own.batch_size
        found += [word for word in _words(command, "training", "augmentation") if ".batch_size=" not in word]
        found += [f"training.pretrained={Path(file).name}" for file in _after(command, "--pretrained")]
    found += settings_of("training", TrainingRecipe(batch_size=sizes), only=("batch_size",))
    found += _words(plan, "planning") + [f"plan={Path(file).name}" for file in _after(plan, "--edited")]
    found += settings_of("inference", InferenceRecipe.model_validate(card.inference))
    found += _words(search.command if search else (), "postprocessing")
    assessed = read_provenance(outcome.folder / "assessment.json")
    found += _words(assessed.command if assessed else (), "evaluation")
    split = read_provenance(outcome.of_dataset / "splits_final.json")
    for given in _after(split.command if split else (), "--patients"):
        found.append(f"patients={Path(given).name if given.endswith('.csv') else given}")
    found += settings_of(
        "selection", SelectionRecipe(prefer_single_within=card.selection.prefer_single_within)
    )
    known = {word for section, values in _DEFAULTS.items() for word in settings_of(section, values)}
    return [word for word in dict.fromkeys(found) if word not in known]


def _after(command: Sequence[str], option: str) -> list[str]:
    return [value for name, value in pairwise(command) if name == option]


def _trainings(outcome: Outcome) -> Iterator[tuple[str, Provenance]]:
    """Configuration and provenance of every network."""
    for network in outcome.of_trainings("model.pt"):
        made = read_provenance(network)
        if made is not None:
            yield network.parts[-3], made
