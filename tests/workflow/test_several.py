"""Several data sets and recipes in one call: one graph, what is shared computed once, one table at the end."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
import yaml
from workflow_runs import Experiment

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

FASTER = {"based_on": "nnunet", "training": {"learning_rate": 0.02}}
COARSER = {"based_on": "nnunet", "planning": {"plans_name": "coarser", "spacing_mm": [4.0, 2.0, 2.0]}}
LARGER = {"based_on": "nnunet", "planning": {"plans_name": "larger", "gpu_memory_gb": 12}}


@pytest.fixture
def several(experiment) -> Experiment:
    shutil.copytree(experiment.dataset, experiment.folder / "other")
    for name, content in (("faster", FASTER), ("larger", LARGER), ("coarser", COARSER)):
        (experiment.folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return experiment


def test_two_data_sets_and_two_recipes_with_one_plan(several):
    changes = {"datasets": ["data", "other"], "recipes": ["nnunet", "faster.yaml"], "folds": [0]}
    several.configure(**changes, configurations=["2d"])
    jobs = several.jobs()
    chunks, experiments = 2, 4
    assert (jobs["fingerprint"], jobs["plan"], jobs["folds"]) == (2, 2, 2)
    assert (jobs["check"], jobs["preprocess"]) == (2 * chunks, 2 * chunks)
    assert jobs["train"] == jobs["report"] == experiments
    assert jobs["compare"] == 1

    table = pd.read_csv(several.output / "comparison.csv")
    assert list(zip(table["dataset"], table["recipe"], strict=True)) == [
        ("data", "nnunet"), ("data", "faster"), ("other", "nnunet"), ("other", "faster"),
    ]  # fmt: skip
    assert table["mean_dice"].between(0, 1).all()
    same = table.groupby("recipe")["mean_dice"].nunique()
    assert (same == 1).all(), "the other data set is a copy, so its scores are the same"

    assert not several.jobs()
    several.configure(**changes | {"datasets": ["data"]}, configurations=["2d"])
    assert set(several.jobs()) == {"compare"}


def models(*recipes, configuration="2d"):
    return [f"results/data/{recipe}/models/{configuration}/fold_0/model.pt" for recipe in recipes]


def test_recipes_that_plan_otherwise_share_prepared_cases(several):
    """They are called by the default recipe's plan, so that it makes no difference who else takes part."""
    several.configure(recipes=["larger.yaml"], folds=[0], configurations=["2d"])
    jobs = several.jobs("--", *models("larger"))
    assert (jobs["plan"], jobs["preprocess"], jobs["train"]) == (2, 2, 1)
    assert {file.parent.name for file in several.shared.glob("plans/*/plans.json")} == {
        "nnUNetPlans",
        "larger",
    }
    assert [file.parent.parent.name for file in several.shared.glob("preprocessed/*/2d/prepared.json")] == [
        "nnUNetPlans"
    ]
    several.configure(recipes=["nnunet", "larger.yaml"], folds=[0], configurations=["2d"])
    assert several.jobs("--", *models("nnunet", "larger")) == {"train": 1}


def test_a_recipe_with_another_spacing_has_cases_of_its_own(several):
    several.configure(recipes=["nnunet", "coarser.yaml"], folds=[0], configurations=["2d"])
    several.finish(
        *(f"results/data/preprocessed/{plan}/2d/prepared.json" for plan in ("nnUNetPlans", "coarser"))
    )
    assert len(list(several.shared.glob("preprocessed/*/2d/prepared.json"))) == 2
    done = several.run("--dry-run", "results/data/preprocessed/larger/2d/prepared.json")
    assert done.returncode != 0


def test_two_plans_of_one_name(several):
    (several.folder / "clash.yaml").write_text(yaml.safe_dump({"planning": {"gpu_memory_gb": 12}}))
    several.configure(recipes=["nnunet", "clash.yaml"])
    done = several.run("--dry-run")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "recipes 'nnunet' and 'clash' plan differently, but both call their plan 'nnUNetPlans'" in said


def test_an_edited_plan_is_that_of_one_data_set(several):
    several.configure(datasets=["data", "other"], plan="edited.json")
    done = several.run("--dry-run")
    assert done.returncode != 0
    assert "'plan': an edited plan is that of one data set" in done.stdout + done.stderr


def test_two_data_sets_of_one_name(several):
    shutil.copytree(several.dataset, several.folder / "copy" / "data")
    several.configure(datasets=["data", "copy/data"])
    done = several.run("--dry-run")
    assert done.returncode != 0
    assert "two data sets have the same folder name" in done.stdout + done.stderr
