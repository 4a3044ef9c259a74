"""The recipes of a call with the changes its configuration asks for, the plans they use, and whose cases they share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from segflow.contracts.errors import ConfigurationError, PlanError
from segflow.contracts.plan import CONFIGURATION_NAMES, SAFE_NAME, Plan, in_order
from segflow.nnunet.plans import read_plan
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import SECTIONS, Recipe, changed, find_recipe, recipe_named
from segflow.recipes.settings import settings_of
from segflow.storage.files import digest_of
from segflow.workflow.config import WorkflowConfig

__all__ = ["Plans", "pretrained_words", "read_plans", "read_recipes", "training_words"]

CASCADE, COARSE, FULL = "3d_cascade_fullres", "3d_lowres", "3d_fullres"
#: Their preparation depends on the recipe through its target spacing and order alone (method.md 6.1-6.3, 7, 26).
_AT_FULL_RESOLUTION = ("2d", FULL, CASCADE)
_DIGITS = 12


@dataclass(frozen=True)
class Plans:
    """Which plans there are, and whose prepared cases a configuration reads.

    Attributes:
        of: Recipe name to plan name.
        planning: Plan name to what it is made with. A plan may be there for its prepared cases only.
        names: Of all configurations that a plan may have, simpler first.
        sharing: Plan name to the plan whose cases it shares at full resolution; itself if there is no other.
        same_cases: Configuration to the configuration that is prepared alike; itself if there is no other.
        cascades: Configurations that take the output of 3d_lowres.
    """

    of: Mapping[str, str]
    planning: Mapping[str, PlannerRecipe]
    names: tuple[str, ...]
    sharing: Mapping[str, str]
    same_cases: Mapping[str, str]
    cascades: tuple[str, ...]

    def cases_of(self, recipe: str, configuration: str) -> tuple[str, str]:
        """Plan and configuration whose preparation and prepared cases a configuration reads."""
        plan, same = self.of[recipe], self.same_cases[configuration]
        return (self.sharing[plan] if same in _AT_FULL_RESOLUTION else plan), same


def read_recipes(config: WorkflowConfig) -> dict[str, Recipe]:
    """The recipes a configuration names (a file's without its ending), its changes applied to each.

    Raises:
        ConfigurationError: There is no such recipe, a key that no recipe has, a value that is not allowed, or two
            recipes of one name.
    """
    found: dict[str, Recipe] = {}
    for entry in config.recipe_names:
        recipe = find_recipe(entry)
        if recipe.name in found:
            raise ConfigurationError(f"recipes: two are called '{recipe.name}'; rename one of the files")
        found[recipe.name] = _with_changes(recipe, config)
    return found


def read_plans(config: WorkflowConfig, recipes: Mapping[str, Recipe]) -> Plans:
    """The plans that recipes use; recipes that plan alike share one.

    Prepared cases at full resolution are named by the plan of the default recipe wherever they are the same, whether
    that recipe takes part or not. So adding or removing a recipe leaves the cases of the others where they are.

    Args:
        config: Of the workflow.
        recipes: By name, with the configuration's changes.

    Raises:
        ConfigurationError: Two recipes plan differently under one name, an edited plan would stand for several, a
            configuration is named that no plan can have, or pretrained weights do not exist.
        PlanError: The edited plan cannot be understood.
    """
    of = _plan_names(recipes)
    planning = {plan: recipes[name].planning for name, plan in of.items()}
    if config.plan is None:
        base = _with_changes(recipe_named("nnunet"), config).planning
        plans = _planned(of, planning, planning.get(base.plans_name, base))
    else:
        plans = _edited(of, config.plan)
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
    return changed(recipe, {section: getattr(config, section) for section in SECTIONS}, where="configuration")


def _plan_names(recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """Recipe name to plan name: `plans_name`, as nnU-Net names those of its presets."""
    first: dict[str, Recipe] = {}
    for recipe in recipes.values():
        plans_name = recipe.planning.plans_name
        other = first.setdefault(plans_name, recipe)
        if other.planning != recipe.planning:
            raise ConfigurationError(
                f"recipes '{other.name}' and '{recipe.name}' plan differently, but both call their plan "
                f"'{plans_name}'; give one of them another planning.plans_name"
            )
    return {name: recipe.planning.plans_name for name, recipe in recipes.items()}


def _planned(of: Mapping[str, str], planning: Mapping[str, PlannerRecipe], base: PlannerRecipe) -> Plans:
    """Plans of the planner; `base` is the one whose cases others share."""
    alike = {plan for plan, planned in planning.items() if _prepares(planned) == _prepares(base)}
    return Plans(
        of=of,
        planning={base.plans_name: base, **planning} if alike else planning,
        names=CONFIGURATION_NAMES,
        sharing={plan: base.plans_name if plan in alike else plan for plan in planning},
        same_cases={name: FULL if name == CASCADE else name for name in CONFIGURATION_NAMES},
        cascades=(CASCADE,),
    )


def _prepares(planning: PlannerRecipe) -> tuple[object, ...]:
    """What of a recipe bears on the cases at full resolution."""
    return planning.spacing_mm, planning.resample_first


def _edited(of: Mapping[str, str], file: str) -> Plans:
    """A plan in place of the planner's."""
    if len(set(of.values())) > 1:
        raise ConfigurationError(
            f"'plan': {file} would stand for several plans ({', '.join(dict.fromkeys(of.values()))}); "
            "name recipes that plan alike"
        )
    plan = read_plan(Path(file))
    if not re.fullmatch(SAFE_NAME, plan.plans_name):
        raise PlanError(f"{file}: plans_name '{plan.plans_name}' cannot be the name of a folder")
    names = in_order([*CONFIGURATION_NAMES, *plan.configurations])
    return Plans(
        of=dict.fromkeys(of, plan.plans_name),
        planning={plan.plans_name: PlannerRecipe()},
        names=names,
        sharing={plan.plans_name: plan.plans_name},
        same_cases={name: _prepared_alike(plan, name, names) for name in names},
        cascades=_cascades(plan, file),
    )


def _prepared_alike(plan: Plan, name: str, names: tuple[str, ...]) -> str:
    """The first configuration that is prepared as this one; of one that is not there, as the planner has it."""
    if name not in plan.configurations:
        return FULL if name == CASCADE else name
    own = plan.preparation(name)
    return next(n for n in names if n in plan.configurations and plan.preparation(n) == own)


def _cascades(plan: Plan, file: str) -> tuple[str, ...]:
    found = {
        name: c.previous_stage for name, c in plan.configurations.items() if c.previous_stage is not None
    }
    for name, before in found.items():
        full = plan.preparation(FULL) if FULL in plan.configurations else None
        if before != COARSE or plan.preparation(name) != full:
            raise PlanError(
                f"{file}: configuration {name}: the workflow has cascades from {COARSE} to the cases of {FULL} only"
            )
    return tuple(found)


def _check_names(config: WorkflowConfig, recipes: Mapping[str, Recipe], names: tuple[str, ...]) -> None:
    """Configurations that are named, but that no plan can have; files of weights that do not exist."""
    for name in () if config.configurations == "auto" else config.configurations:
        if name not in names:
            raise ConfigurationError(
                f"configurations: {config.plan} has no '{name}'; choose of {', '.join(names)}"
            )
    for recipe in recipes.values():
        where, given = f"recipe '{recipe.name}': 'training", recipe.training.pretrained
        files = given if isinstance(given, dict) else {} if given is None else {"": given}
        _check_known(f"{where}.batch_size.", recipe.training.batch_size, names)
        _check_known(f"{where}.pretrained.", filter(None, files), names)
        for name, file in files.items():
            if not Path(file).is_file():
                key = f"{where}.pretrained{name and '.'}{name}'"
                raise ConfigurationError(f"{key}: there is no file {file}")


def _check_known(where: str, named: Iterable[str], names: tuple[str, ...]) -> None:
    for name in named:
        if name not in names:
            raise ConfigurationError(
                f"{where}{name}': there is no such configuration; choose of {', '.join(names)}"
            )
