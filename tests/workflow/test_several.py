"""Several data sets and recipes in one call: one graph, what is shared computed once, one table at the end."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
import yaml
from workflow_runs import Experiment

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

RECIPES = {
    "faster": {"training": {"learning_rate": 0.02}},
    "coarser": {"planning": {"plans_name": "coarser", "spacing_mm": [4.0, 2.0, 2.0]}},
    "larger": {"planning": {"plans_name": "larger", "gpu_memory_gb": 12}},
}
SMALL = {"folds": [0], "configurations": ["2d"]}


@pytest.fixture
def several(experiment) -> Experiment:
    for name, content in RECIPES.items():
        (experiment.folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return experiment


def test_two_data_sets_and_two_recipes_with_one_plan(several):
    shutil.copytree(several.dataset, several.folder / "other")
    changes = {"datasets": ["data", "other"], "recipes": ["nnunet", "faster.yaml"]}
    several.configure(**SMALL, **changes)
    jobs = several.jobs()
    chunks, experiments = 2, 4
    assert (jobs["fingerprint"], jobs["plan"], jobs["folds"]) == (2, 2, 2)
    assert (jobs["check"], jobs["preprocess"]) == (2 * chunks, 2 * chunks)
    assert jobs["train"] == jobs["make_report"] == experiments
    assert jobs["compare"] == 1

    table = pd.read_csv(several.output / "comparison.csv")
    assert list(zip(table["dataset"], table["recipe"], strict=True)) == [
        ("data", "nnunet"), ("data", "faster"), ("other", "nnunet"), ("other", "faster"),
    ]  # fmt: skip
    assert table["mean_dice"].between(0, 1).all()
    same = table.groupby("recipe")["mean_dice"].nunique()
    assert (same == 1).all(), "the other data set is a copy, so its scores are the same"
    pairs = pd.read_csv(several.output / "comparison" / "tables" / "differences.csv")
    assert pairs[["dataset", "first", "second"]].values.tolist() == [
        ["data", "nnunet", "faster"], ["other", "nnunet", "faster"],
    ]  # fmt: skip

    assert not several.jobs()
    several.configure(**SMALL, **changes | {"datasets": ["data"]})
    assert set(several.jobs()) == {"compare"}


def plans_in(several: Experiment, pattern: str) -> set[str]:
    return {file.relative_to(several.shared).parts[1] for file in several.shared.glob(pattern)}


def test_recipes_that_plan_otherwise_share_prepared_cases(several):
    """They are called by the default recipe's plan, so that it makes no difference who else takes part."""
    models = [f"results/data/{recipe}/models/2d/fold_0/model.pt" for recipe in ("larger", "nnunet")]
    several.configure(**SMALL, recipes=["larger.yaml"])
    jobs = several.jobs("--", models[0])
    assert (jobs["plan"], jobs["preprocess"], jobs["train"]) == (2, 2, 1)
    assert plans_in(several, "plans/*/plans.json") == {"nnUNetPlans", "larger"}
    assert plans_in(several, "preprocessed/*/2d/prepared.json") == {"nnUNetPlans"}
    several.configure(**SMALL, recipes=["nnunet", "larger.yaml"])
    assert several.jobs("--", *models) == {"train": 1}


def test_a_recipe_with_another_spacing_has_cases_of_its_own(several):
    plans = ("nnUNetPlans", "coarser")
    several.configure(**SMALL, recipes=["nnunet", "coarser.yaml"])
    several.finish(*(f"results/data/preprocessed/{plan}/2d/prepared.json" for plan in plans))
    assert plans_in(several, "preprocessed/*/2d/prepared.json") == set(plans)
    several.fail("--dry-run", "results/data/preprocessed/larger/2d/prepared.json")
