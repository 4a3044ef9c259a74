"""The recipes of a call with the changes its configuration asks for, the plans they use, and whose cases they share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zipfile import is_zipfile

from segflow.contracts.errors import ConfigurationError, PlanError
from segflow.contracts.plan import CONFIGURATION_NAMES, SAFE_NAME, Configuration, Plan, in_order
from segflow.nnunet.plans import read_plan
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import SECTIONS, Recipe, changed, find_recipe, recipe_named
from segflow.recipes.settings import settings_of
from segflow.storage.files import digest_of
from segflow.workflow.config import WorkflowConfig

__all__ = [
    "CASCADE",
    "LOW_RESOLUTION",
    "Plans",
    "forms_pairs",
    "pretrained_words",
    "read_plans",
    "read_recipes",
    "too_many_gpus",
    "training_words",
]

CASCADE, LOW_RESOLUTION, FULL_RESOLUTION = "3d_cascade_fullres", "3d_lowres", "3d_fullres"
_DIGITS = 12
#: Folders beside those of the recipes: what they share.
_SHARED = {"check", "fingerprint", "plans", "preprocessed", "logs", "benchmarks"}


@dataclass(frozen=True)
class Plans:
    """Which plans there are, and whose prepared cases a configuration reads.

    Attributes:
        of: Recipe to plan.
        planning: Plan to what it is made with. A plan may be there for its prepared cases only.
        names: Of all configurations that a plan may have, simpler first.
        cases: Plan and configuration to the plan and configuration whose prepared cases are the same.
        cascades: Configurations that take the output of 3d_lowres.
    """

    of: Mapping[str, str]
    planning: Mapping[str, PlannerRecipe]
    names: tuple[str, ...]
    cases: Mapping[tuple[str, str], tuple[str, str]]
    cascades: tuple[str, ...]

    def cases_of(self, recipe: str, configuration: str) -> tuple[str, str]:
        """Plan and configuration whose preparation and prepared cases a configuration reads."""
        return self.cases[self.of[recipe], configuration]


def read_recipes(config: WorkflowConfig) -> dict[str, Recipe]:
    """The recipes a configuration names (a file's without its ending), its changes applied to each.

    Raises:
        ConfigurationError: There is no such recipe, a key that no recipe has, a value that is not allowed, or two
            recipes of one name.
    """
    found: dict[str, Recipe] = {}
    for entry in config.recipe_names:
        recipe = find_recipe(entry)
        if recipe.name in _SHARED:
            raise ConfigurationError(
                f"{entry}: a recipe cannot be called '{recipe.name}', as its results would be; rename the file"
            )
        if recipe.name in found:
            raise ConfigurationError(f"recipes: two are called '{recipe.name}'; rename one of the files")
        found[recipe.name] = _with_changes(recipe, config)
    return found


def read_plans(config: WorkflowConfig, recipes: Mapping[str, Recipe]) -> Plans:
    """The plans that recipes use; recipes that plan alike share one.

    Args:
        config: Of the workflow.
        recipes: By name, with the configuration's changes.

    Raises:
        ConfigurationError: Two recipes plan differently under one name, an edited plan would stand for several, a
            configuration is named that no plan can have, or pretrained weights do not exist.
        PlanError: The edited plan cannot be understood.
    """
    first: dict[str, Recipe] = {}
    for recipe in recipes.values():
        name = recipe.planning.plans_name
        other = first.setdefault(name, recipe)
        if other.planning != recipe.planning:
            raise ConfigurationError(
                f"recipes '{other.name}' and '{recipe.name}' plan differently, but both call their plan "
                f"'{name}'; give one of them another planning.plans_name"
            )
    of = {name: recipe.planning.plans_name for name, recipe in recipes.items()}
    if config.plan is not None:
        plans = _edited(of, config.plan)
    else:
        default = _with_changes(recipe_named("nnunet"), config).planning
        plans = _planned(of, {name: recipe.planning for name, recipe in first.items()}, default)
    _check_names(config, recipes, plans.names)
    return plans


def training_words(recipe: Recipe, configuration: str, *, is_cascade: bool) -> list[str]:
    """What a configuration's training reads of the recipe, and nothing of other configurations, as words."""
    own = {name: size for name, size in recipe.training.batch_size.items() if name == configuration}
    training = recipe.training.model_copy(update={"batch_size": own, "pretrained": None})
    words = [*settings_of("training", training), *settings_of("augmentation", recipe.augmentation)]
    if not is_cascade:
        words = [word for word in words if "cascade" not in word]
    if recipe.training.base_width is not None:
        words += settings_of("planning", recipe.planning, only=("max_features_2d", "max_features_3d"))
    return words


def forms_pairs(recipe: Recipe, config: WorkflowConfig) -> bool:
    """Whether pairs of configurations are averaged, for which probabilities are kept."""
    names = recipe.selection.configurations
    return config.ensembles and (names is None or len(names) > 1)


def too_many_gpus(config: WorkflowConfig, recipe: Recipe, planned: Mapping[str, Configuration]) -> str | None:
    """Why some of a plan's configurations cannot share their batches among as many GPUs, or None."""
    gpus = 1 if config.device == "cpu" else config.resources.gpus
    for name, configuration in planned.items():
        batch = recipe.training.batch_size.get(name, configuration.batch_size)
        if gpus > batch:
            return (
                f"resources.gpus is {gpus}, and a batch of {name} is of {batch} patches, which cannot be shared among "
                f"more GPUs than that: set resources.gpus to {batch} at most, or a larger training.batch_size"
            )
    return None


def pretrained_words(recipe: Recipe, configuration: str) -> list[str]:
    """The content of the weights that a training begins with, as a word, if there are any.

    Were the file an input of the rule, the same one under another name would train anew.
    """
    file = recipe.training.pretrained_file(configuration)
    return [] if file is None else [f"training.pretrained={_digest(file)}"]


@cache
def _digest(file: str) -> str:
    return digest_of(Path(file))[:_DIGITS]


def _with_changes(recipe: Recipe, config: WorkflowConfig) -> Recipe:
    changes = {section: getattr(config, section) for section in SECTIONS}
    if config.configurations != "auto":
        changes["selection"] = {**(config.selection or {}), "configurations": config.configurations}
    return changed(recipe, changes, where="configuration")


def _planned(of: Mapping[str, str], planning: Mapping[str, PlannerRecipe], default: PlannerRecipe) -> Plans:
    """Plans of the planner.

    Cases at full resolution depend on the recipe through `PlannerRecipe.preparation` alone (method.md 6.1-6.3, 7, 8,
    26). Where it is the default recipe's, they belong to its plan, whether that recipe takes part or not. So adding or
    removing a recipe leaves the cases of the others where they are.
    """
    shared = planning.get(default.plans_name, default)
    alike = {plan for plan, own in planning.items() if own.preparation == shared.preparation}
    planning = {shared.plans_name: shared, **planning} if alike else planning
    cases: dict[tuple[str, str], tuple[str, str]] = {}
    for plan in planning:
        full = shared.plans_name if plan in alike else plan
        cases |= {(plan, name): (full, name) for name in ("2d", FULL_RESOLUTION)}
        cases |= {(plan, CASCADE): (full, FULL_RESOLUTION), (plan, LOW_RESOLUTION): (plan, LOW_RESOLUTION)}
    return Plans(of, planning, CONFIGURATION_NAMES, cases, (CASCADE,))


def _edited(of: Mapping[str, str], file: str) -> Plans:
    """A plan in place of the planner's."""
    if len(set(of.values())) > 1:
        raise ConfigurationError(
            f"'plan': {file} would stand for several plans ({', '.join(dict.fromkeys(of.values()))}); "
            "name recipes that plan alike"
        )
    plan = read_plan(Path(file))
    own = plan.plans_name
    if not re.fullmatch(SAFE_NAME, own):
        raise PlanError(f"{file}: plans_name '{own}' cannot be the name of a folder")
    names = in_order([*CONFIGURATION_NAMES, *plan.configurations])
    cases = {(own, name): (own, _prepared_alike(plan, name)) for name in names}
    return Plans(dict.fromkeys(of, own), {own: PlannerRecipe()}, names, cases, _cascades(plan, file))


def _prepared_alike(plan: Plan, name: str) -> str:
    """The first configuration that is prepared as this one; of one that is not there, as the planner has it."""
    if name not in plan.configurations:
        return FULL_RESOLUTION if name == CASCADE else name
    return next(n for n in in_order(plan.configurations) if plan.preparation(n) == plan.preparation(name))


def _cascades(plan: Plan, file: str) -> tuple[str, ...]:
    full = plan.preparation(FULL_RESOLUTION) if FULL_RESOLUTION in plan.configurations else None
    found = [name for name, entry in plan.configurations.items() if entry.previous_stage is not None]
    for name in found:
        if plan.configurations[name].previous_stage != LOW_RESOLUTION or plan.preparation(name) != full:
            raise PlanError(
                f"{file}: configuration {name}: the workflow has cascades from {LOW_RESOLUTION} to the cases of "
                f"{FULL_RESOLUTION} only"
            )
    return tuple(found)


def _check_names(config: WorkflowConfig, recipes: Mapping[str, Recipe], names: tuple[str, ...]) -> None:
    """Refuse names of configurations that no plan can have, and files of weights that do not exist."""

    def check(where: str, named: Iterable[str]) -> None:
        for name in named:
            if name not in names:
                raise ConfigurationError(
                    f"{where}: there is no configuration '{name}'; choose of {', '.join(names)}"
                )

    check("'configurations'", () if config.configurations == "auto" else config.configurations)
    for recipe in recipes.values():
        check(f"recipe '{recipe.name}': 'selection.configurations'", recipe.selection.configurations or ())
        where, pretrained = f"recipe '{recipe.name}': 'training", recipe.training.pretrained
        check(f"{where}.batch_size'", recipe.training.batch_size)
        check(f"{where}.pretrained'", pretrained if isinstance(pretrained, dict) else ())
        for file in filter(None, map(recipe.training.pretrained_file, names)):
            _check_weights(file, f"{where}.pretrained'")


def _check_weights(file: str, where: str) -> None:
    """Refuse what is neither an archive, as torch writes, nor safetensors; whether it fits is seen with the network."""
    if not Path(file).is_file():
        raise ConfigurationError(f"{where}: there is no file {file}")
    with Path(file).open("rb") as opened:
        is_safetensors = opened.read(9)[8:] == b"{"  # after the length of its header
    if not is_safetensors and not is_zipfile(file):
        raise ConfigurationError(
            f"{where}: {file} is damaged or holds no weights; name one of segflow (model.pt, fold_0.safetensors) or "
            "a checkpoint of nnU-Net"
        )
