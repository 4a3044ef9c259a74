"""Several finished experiments in one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from case_samples import labels_of
from report_samples import candidate, model_card, summary

from segflow.commands.main import main
from segflow.commands.outcome import stage_times
from segflow.contracts.scores import Operation, Selection
from segflow.storage.files import write_json, write_text

DESCRIPTION = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "organ": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}
CANDIDATES = {name: candidate(name, 0.5) for name in ("2d", "2d+3d_fullres")}


@pytest.fixture
def finish(tmp_path):
    """A function that writes the results of a finished experiment that `segflow compare` reads."""

    def write(dataset, recipe, dices, best="2d", operations=()):
        folder = tmp_path / dataset / recipe
        selection = Selection(best=CANDIDATES[best], candidates=tuple(CANDIDATES.values()))
        card = model_card(best, *operations, dataset=dataset, recipe=recipe, selection=selection)
        write_json(folder / "model" / "dataset.json", DESCRIPTION)
        write_text(folder / "model" / "model.json", card.to_json())
        scores = summary(*[[dice] for dice in dices], labels=labels_of(1))
        write_text(folder / "final" / "summary.json", scores.to_json())
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


@pytest.mark.parametrize("name", ["=1+1", "@x", "-2"])
def test_names_are_no_formulas_of_a_spreadsheet(name, finish, tmp_path):
    assert main(["compare", finish(name, name, [0.5]), "--output", str(tmp_path / "c.csv")]) == 0
    assert (tmp_path / "c.csv").read_text().splitlines()[1].startswith(f"'{name},'{name},2d,")


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
