"""What the jobs of an experiment noted of themselves, beside their results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from segflow.commands.outcome import Outcome
from segflow.commands.plan import plan_input
from segflow.commands.provenance import provenance_file
from segflow.contracts.artefacts import Provenance
from segflow.contracts.errors import ConfigurationError, PlanError
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.plan import Plan
from segflow.contracts.reasons import PlanReasons
from segflow.planning.plan import make_plan_with_reasons
from segflow.recipes.inference import InferenceRecipe
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.recipe import recipe_named, recipe_names
from segflow.recipes.settings import parse_settings
from segflow.recipes.training import AugmentationRecipe, TrainingRecipe
from segflow.reporting.data import Method
from segflow.storage.files import read_contract

__all__ = ["read_method", "read_provenance"]


def read_provenance(result: Path) -> Provenance | None:
    """How a result was made; None where it was made by hand, or an earlier version has noted it otherwise."""
    with suppress(PlanError):
        return read_contract(Provenance, provenance_file(result))
    return None


def read_method(outcome: Outcome, plan: Plan, fingerprint: Fingerprint) -> Method:
    """How the networks of an experiment were made and are used.

    Args:
        outcome: Of the experiment.
        plan: That of its package.
        fingerprint: Likewise.
    """
    trainings = list(_trainings(outcome))
    used = {}
    for configuration, made in trainings:
        words = [word for word in made.command if word.startswith(("training.", "augmentation."))]
        with suppress(ConfigurationError):  # values of an earlier version
            used[configuration] = (
                parse_settings(TrainingRecipe, "training", words),
                parse_settings(AugmentationRecipe, "augmentation", words),
            )
    return Method(
        recipe=outcome.card.recipe,
        training=used,
        inference=InferenceRecipe.model_validate(outcome.card.inference),
        folds=outcome.card.folds,
        devices=tuple(sorted({made.device for _, made in trainings})),
        versions=outcome.card.versions,
        reasons=_reasons(outcome, plan, fingerprint),
    )


def _reasons(outcome: Outcome, plan: Plan, fingerprint: Fingerprint) -> PlanReasons | None:
    """Why a plan is as it is, by making it again; None if it comes out otherwise, as it was edited, for example."""
    about = plan_input(outcome.folder / "model" / "dataset.json")
    for recipe in _planning_recipes(outcome):
        made, reasons = make_plan_with_reasons(fingerprint, about, recipe)
        if made.configurations == {name: plan.configurations.get(name) for name in made.configurations}:
            return reasons
    return None


def _planning_recipes(outcome: Outcome) -> Iterator[PlannerRecipe]:
    """What the plan may have been made with: as the jobs of plans have noted it, and the recipe of that name."""
    for file in sorted((outcome.folder.parent / "plans").glob("*/plans.json")):
        noted = read_provenance(file)
        with suppress(ConfigurationError):  # values of an earlier version
            words = [word for word in noted.command if word.startswith("planning.")] if noted else []
            yield parse_settings(PlannerRecipe, "planning", words)
    if outcome.card.recipe in recipe_names():
        yield recipe_named(outcome.card.recipe).planning


def _trainings(outcome: Outcome) -> Iterator[tuple[str, Provenance]]:
    """Configuration and provenance of every network."""
    for fold in outcome.card.folds:
        for network in sorted((outcome.folder / "models").glob(f"*/fold_{fold}/model.pt")):
            made = read_provenance(network)
            if made is not None:
                yield network.parts[-3], made
