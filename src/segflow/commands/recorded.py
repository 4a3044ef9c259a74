"""What the jobs of an experiment noted of themselves, beside their results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from segflow.commands.outcome import Outcome
from segflow.commands.provenance import provenance_file
from segflow.contracts.artefacts import Provenance
from segflow.contracts.errors import ConfigurationError, PlanError
from segflow.recipes.inference import InferenceRecipe
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


def read_method(outcome: Outcome) -> Method:
    """How the networks of an experiment were made and are used."""
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
    )


def _trainings(outcome: Outcome) -> Iterator[tuple[str, Provenance]]:
    """Configuration and provenance of every network."""
    for fold in outcome.card.folds:
        for network in sorted((outcome.folder / "models").glob(f"*/fold_{fold}/model.pt")):
            made = read_provenance(network)
            if made is not None:
                yield network.parts[-3], made
