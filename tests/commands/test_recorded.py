"""What jobs noted of themselves is told again: how networks were made, and the call that repeats the run."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from case_samples import labels_of
from report_samples import candidate, model_card, plan, summary

from segflow.commands.outcome import Outcome
from segflow.commands.provenance import provenance_file
from segflow.commands.recorded import provenance_rows, training_recipes
from segflow.commands.run import _merged
from segflow.contracts.artefacts import Provenance
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.model import NetworkCard
from segflow.contracts.scores import Selection
from segflow.recipes.recipe import changed, recipe_named
from segflow.recipes.settings import settings_of
from segflow.storage.files import write_json, write_text
from segflow.workflow.config import WorkflowConfig
from segflow.workflow.recipes import read_recipes, training_words

DESCRIPTION = {
    "channel_names": {"0": "T1"},
    "labels": {"background": 0, "organ": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def note(file: Path, *command: str) -> None:
    """A result's provenance, as a job of the workflow writes it."""
    made = Provenance(
        command=("segflow", *command), inputs={}, code={}, versions={}, device="NVIDIA A100",
        started="2026-01-02T10:00:00+00:00", finished="2026-01-03T10:00:00+00:00",
    )  # fmt: skip
    write_text(provenance_file(file), made.to_json())
    file.touch()


def outcome_of(folder: Path, recipe, **selection) -> Outcome:
    """The end of an experiment with one configuration and one fold, as far as it is read here."""
    results = folder / "results" / "Dataset001 (a)" / recipe.name
    only = candidate("3d_fullres", 0.5)
    card = model_card(
        "3d_fullres", dataset="Dataset001 (a)", recipe=recipe.name, inference=recipe.inference.model_dump(),
        selection=Selection(best=only, candidates=(only,), **selection), versions={"segflow": "0.1.0"},
    )  # fmt: skip
    write_json(results / "model" / "dataset.json", DESCRIPTION)
    for plans in (results / "model" / "plans.json", results.parent / "plans" / "own" / "plans.json"):
        write_text(plans, "{}")
    note(plans, "plan", "--settings", *settings_of("planning", recipe.planning))
    words = training_words(recipe, "3d_fullres", is_cascade=False)
    note(results / "models" / "3d_fullres" / "fold_0" / "model.pt", "train", "--settings", *words)
    note(
        results / "postprocessing.json",
        "postprocess-search",
        *settings_of("postprocessing", recipe.postprocessing),
    )
    note(results / "model" / "model.json", "package")
    return Outcome(results, card, labels_of(1), DESCRIPTION, summary([0.5], labels=labels_of(1)), plan())


def rows_of(outcome: Outcome, seed: int = 3) -> dict[str, str]:
    network = NetworkCard(
        configuration=plan().configurations["3d_fullres"], input_channels=1, n_outputs=2, fold=0, seed=seed, epochs=5,
        device="cuda",
    )  # fmt: skip
    return dict(provenance_rows(outcome, [network]))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("nnunet", {}),
        ("swift", {"training": {"epochs": 5, "batch_size": {"3d_fullres": 4}}}),
        (
            "resenc-m",
            {
                "planning": {"gpu_memory_gb": 11.0, "spacing_mm": [1.0, 0.5, 0.5]},
                "augmentation": {"scaling": [0.8, 1.2]},
                "inference": {"mirroring": ["y", "x"]},
                "postprocessing": {"fill_holes": True},
                "selection": {"prefer_single_within": 0.01},
            },
        ),
    ],
)  # fmt: skip
def test_the_call_that_repeats_a_run_stands_for_the_same_recipe(name, changes, tmp_path):
    used = changed(recipe_named(name), changes, where="here")
    outcome = outcome_of(tmp_path, used, prefer_single_within=used.selection.prefer_single_within)
    words = shlex.split(rows_of(outcome)["to repeat it"])
    assert words[:3] == ["segflow", "run", "Dataset001 (a)"]
    assert words[3:9] == ["--configurations", "3d_fullres", "--folds", "0", "--seed", "3"]
    settings = _merged({"dataset": "d", "output": "r"}, words[9:])
    (again,) = read_recipes(WorkflowConfig.parse(settings, where="here", error=ConfigurationError)).values()
    assert again == used.model_copy(update={"name": "nnunet"})


def test_what_is_told_of_a_run(tmp_path):
    rows = rows_of(outcome_of(tmp_path, recipe_named("nnunet")))
    assert rows["date"] == "2026-01-02 to 2026-01-03"
    assert rows["device"] == "NVIDIA A100"
    assert rows["seed"] == "3"
    assert rows["segflow"] == "0.1.0"
    assert rows["to predict"].startswith("segflow predict --model model --input ")
    assert "10.1038/s41592-020-01008-z" in rows["to cite"]


def test_weights_and_an_edited_plan_are_named_without_their_folder(tmp_path):
    outcome = outcome_of(tmp_path, recipe_named("nnunet"))
    network = outcome.folder / "models" / "3d_fullres" / "fold_0" / "model.pt"
    note(network, "train", "--pretrained", "/elsewhere/weights.pt", "--settings", "training.epochs=7")
    note(outcome.folder.parent / "plans" / "own" / "plans.json", "plan", "--edited", "/elsewhere/mine.json")
    words = shlex.split(rows_of(outcome)["to repeat it"])
    assert words[-3:] == ["training.epochs=7", "training.pretrained=weights.pt", "plan=mine.json"]
    assert training_recipes(outcome)["3d_fullres"][0].pretrained == "/elsewhere/weights.pt"


@pytest.mark.parametrize(
    ("given", "named"), [("^P[0-9]+", "^P[0-9]+"), ("/elsewhere/owners.csv", "owners.csv")]
)
def test_patients_and_values_of_the_evaluation_are_repeated(given, named, tmp_path):
    outcome = outcome_of(tmp_path, recipe_named("nnunet"))
    note(outcome.of_dataset / "splits_final.json", "folds", "--patients", given)
    note(outcome.folder / "assessment.json", "assess", "--settings", "evaluation.nsd_tolerance_mm=3.0")
    words = shlex.split(rows_of(outcome)["to repeat it"])
    assert words[-2:] == ["evaluation.nsd_tolerance_mm=3.0", f"patients={named}"]


def test_trainings_of_earlier_calls_with_more_configurations_are_left_out(tmp_path):
    outcome = outcome_of(tmp_path, recipe_named("nnunet"))
    before = rows_of(outcome)
    note(outcome.folder / "models" / "2d" / "fold_0" / "model.pt", "train", "--settings", "training.epochs=9")
    assert rows_of(outcome) == before


def test_nothing_is_told_that_no_job_has_noted(tmp_path):
    outcome = outcome_of(tmp_path, recipe_named("nnunet"))
    for file in (tmp_path / "results").rglob("*.provenance"):
        file.unlink()
    rows = rows_of(outcome)
    assert {"to repeat it", "date"}.isdisjoint(rows)
    assert rows["device"] == "cuda"
