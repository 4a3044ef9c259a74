"""Several finished experiments in one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from segflow.commands.main import main
from segflow.commands.outcome import stage_times
from segflow.contracts.model import ModelCard
from segflow.contracts.scores import (
    Candidate,
    CaseScores,
    Metrics,
    Operation,
    PostProcessing,
    Selection,
    Summary,
)
from segflow.recipes.inference import InferenceRecipe
from segflow.storage.files import write_json, write_text

DESCRIPTION = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "organ": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def metrics(dice):
    return Metrics(dice=dice, iou=dice, fn=1, fp=1, tn=1, tp=1, n_pred=2, n_ref=2)


def candidate(name):
    names = tuple(name.split("+"))
    return Candidate(name=name, configurations=names, foreground_mean_dice=0.5, summary="summary.json")


@pytest.fixture
def finish(tmp_path):
    """A function that leaves what a finished experiment leaves."""

    def write(dataset, recipe, dices, best="2d", operations=()):
        folder = tmp_path / dataset / recipe
        card = ModelCard(
            dataset=dataset,
            recipe=recipe,
            inference=InferenceRecipe().model_dump(),
            configurations=tuple(best.split("+")),
            stages=(),
            folds=(0,),
            postprocessing=PostProcessing(
                operations=operations, steps=(), foreground_mean_dice_before=0, foreground_mean_dice_after=0
            ),
            selection=Selection(
                best=candidate(best), candidates=(candidate("2d"), candidate("2d+3d_fullres"))
            ),
            versions={},
        )
        mean = sum(dices) / len(dices)
        cases = tuple(
            CaseScores(metrics={"1": metrics(dice)}, prediction_file=f"p{n}", reference_file=f"r{n}")
            for n, dice in enumerate(dices)
        )
        summary = Summary(foreground_mean=metrics(mean), mean={"1": metrics(mean)}, metric_per_case=cases)
        write_json(folder / "model" / "dataset.json", DESCRIPTION)
        write_text(folder / "model" / "model.json", card.to_json())
        write_text(folder / "final" / "summary.json", summary.to_json())
        return str(folder)

    return write


def test_a_row_per_experiment(finish, tmp_path):
    keep = Operation(name="keep_largest", labels=(1,))
    folders = [
        finish("liver", "nnunet", [0.5, 0.7]),
        finish("liver", "mine", [0.25], "2d+3d_fullres", (keep,)),
    ]
    assert main(["compare", *folders, "--output", str(tmp_path / "comparison.csv")]) == 0
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert list(table["dataset"]) == ["liver", "liver"]
    assert list(table["recipe"]) == ["nnunet", "mine"]
    assert list(table["best_model"]) == ["2d", "2d+3d_fullres"]
    assert list(table["cases"]) == [2, 1]
    assert list(table["mean_dice"]) == [pytest.approx(0.6), pytest.approx(0.25)]
    assert list(table["candidates"]) == [2, 2]
    assert list(table["post_processing"]) == ["no", "yes"]


def test_on_the_screen(finish, capsys):
    assert main(["compare", finish("liver", "nnunet", [0.5, 0.7])]) == 0
    said = capsys.readouterr().out
    assert "liver" in said
    assert "0.6000" in said


def test_an_experiment_that_is_not_finished(finish, tmp_path, capsys):
    folders = [finish("liver", "nnunet", [0.5]), str(tmp_path / "liver" / "other")]
    Path(folders[1]).mkdir()
    assert main(["compare", *folders]) == 1
    assert "other holds no finished experiment" in " ".join(capsys.readouterr().err.split())


def test_times_of_the_recipe_and_of_what_recipes_share(tmp_path):
    results = {"train/2d_fold_0": 5, "train/2d_fold_1": 6, "report": 1}
    shared = {"check/chunk_0": 1, "check/chunk_1": 2, "fingerprint": 3, "plan/nnUNetPlans": 4}
    for folder, files in ((tmp_path / "nnunet", results), (tmp_path, shared)):
        for name, seconds in files.items():
            write_text(folder / "benchmarks" / f"{name}.tsv", f"s\th:m:s\n9\t0\n{seconds}\t0\n")
    found = [(time.name, time.seconds, time.jobs) for time in stage_times(tmp_path / "nnunet")]
    assert found == [
        ("check", 3, 2),
        ("fingerprint", 3, 1),
        ("plan", 4, 1),
        ("train", 11, 2),
        ("report", 1, 1),
    ]
