"""The plans that the recipes of a call use, and whose prepared cases they read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from segflow.contracts.errors import ConfigurationError, PlanError
from segflow.contracts.plan import CONFIGURATION_NAMES, SAFE_NAME, Plan, in_order
from segflow.nnunet.plans import read_plan
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import Recipe, recipe_named
from segflow.workflow.config import WorkflowConfig
from segflow.workflow.recipes import plan_names, with_changes

__all__ = ["Plans", "read_plans"]

CASCADE, COARSE, FULL = "3d_cascade_fullres", "3d_lowres", "3d_fullres"
#: Their preparation depends on the recipe through its target spacing and order alone (method.md 6.1-6.3, 7, 26).
_AT_FULL_RESOLUTION = ("2d", FULL, CASCADE)


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


def read_plans(config: WorkflowConfig, recipes: Mapping[str, Recipe]) -> Plans:
    """The plans that recipes use.

    Prepared cases at full resolution are called by the plan of the default recipe wherever they are the same, whether
    that recipe takes part or not. So a recipe that is added or taken out moves nobody's cases.

    Args:
        config: Of the workflow.
        recipes: By name, with the configuration's changes.

    Returns:
        The plans.

    Raises:
        ConfigurationError: Two recipes plan differently under one name, an edited plan is for one plan only, or a
            configuration is named that no plan can have.
        PlanError: The edited plan cannot be understood.
    """
    of = plan_names(recipes)
    planning = {plan: recipes[name].planning for name, plan in of.items()}
    if config.plan is None:
        base = with_changes(recipe_named("nnunet"), config).planning
        plans = _planned(of, planning, planning.get(base.plans_name, base))
    else:
        plans = _edited(of, config.plan)
    _check_names(config, recipes, plans)
    return plans


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
    found = tuple(name for name, c in plan.configurations.items() if c.previous_stage is not None)
    for name in found:
        before = plan.configurations[name].previous_stage
        full = FULL if FULL in plan.configurations else None
        if before != COARSE or full is None or plan.preparation(name) != plan.preparation(full):
            raise PlanError(
                f"{file}: configuration {name}: the workflow has cascades from {COARSE} to the cases of {FULL} only"
            )
    return found


def _check_names(config: WorkflowConfig, recipes: Mapping[str, Recipe], plans: Plans) -> None:
    """Configurations that are asked for, or given a batch size, but that no plan can have."""
    for name in () if config.configurations == "auto" else config.configurations:
        if name not in plans.names:
            raise ConfigurationError(
                f"configurations: {config.plan} has no '{name}'; choose of {', '.join(plans.names)}"
            )
    for recipe in recipes.values():
        for name in recipe.training.batch_size:
            if name not in plans.names:
                raise ConfigurationError(
                    f"recipe '{recipe.name}': 'training.batch_size.{name}': there is no such configuration; "
                    f"choose of {', '.join(plans.names)}"
                )
