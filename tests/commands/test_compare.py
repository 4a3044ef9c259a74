"""Several finished experiments in one table."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest
from case_samples import labels_of
from report_samples import candidate, model_card, plan, summary
from scipy.stats import wilcoxon

from segflow.commands.main import main
from segflow.commands.outcome import read_outcome, stage_times
from segflow.contracts.scores import Operation, Selection
from segflow.nnunet.plans import write_plan
from segflow.storage.files import cell_text, write_json, write_text

DESCRIPTION = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "organ": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}
CANDIDATES = {name: candidate(name, 0.5) for name in ("2d", "2d+3d_fullres")}
PLANNED = plan().configurations["3d_fullres"]
PLAN = plan().model_copy(
    update={
        "configurations": {name: PLANNED.model_copy(update={"name": name}) for name in ("2d", "3d_fullres")}
    }
)


@pytest.fixture
def finish(tmp_path):
    """A function that writes the results of a finished experiment that `segflow compare` reads."""

    def write(dataset, recipe, dices, best="2d", operations=(), owners=None):
        folder = tmp_path / dataset / recipe
        selection = Selection(best=CANDIDATES[best], candidates=tuple(CANDIDATES.values()))
        card = model_card(best, *operations, dataset=dataset, recipe=recipe, selection=selection)
        write_json(folder / "model" / "dataset.json", DESCRIPTION)
        write_text(folder / "model" / "model.json", card.to_json())
        write_plan(folder / "model" / "plans.json", PLAN)
        scores = summary(*[[dice] for dice in dices], labels=labels_of(1))
        named = [
            case.model_copy(update={"prediction_file": f"{name}.nii.gz", "patient": patient})
            for case, (name, patient) in zip(scores.metric_per_case, (owners or {}).items(), strict=False)
        ]
        scores = scores.model_copy(update={"metric_per_case": tuple(named) or scores.metric_per_case})
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


def tables_of(folder):
    files = (folder / "comparison" / "tables").iterdir()
    return {file.stem: pd.read_csv(file) for file in files}


def test_experiments_on_the_same_cases_are_paired(finish, tmp_path):
    """And only these: neither those of another data set nor those with other cases."""
    dices = {
        "nnunet": [0.5, 0.7, 0.9],
        "mine": [0.4, 0.7, 0.75],
        "swift": [0.6, 0.8, 0.95],
        "short": [0.5, 0.6],
    }
    folders = [finish("liver", recipe, values) for recipe, values in dices.items()]
    folders.append(finish("spleen", "nnunet", [0.5, 0.7, 0.9]))
    assert main(["compare", *folders, "--output", str(tmp_path / "comparison.csv")]) == 0
    tables = tables_of(tmp_path)
    differences, ranks, cases = (tables[name] for name in ("differences", "ranks", "cases"))
    assert list(zip(differences["first"], differences["second"], strict=True)) == [
        ("nnunet", "mine"), ("nnunet", "swift"), ("mine", "swift"),
    ]  # fmt: skip
    assert set(differences["dataset"]) == {"liver"}
    for _, row in differences.iterrows():
        apart = [a - b for a, b in zip(dices[row["first"]], dices[row["second"]], strict=True)]
        assert row["mean difference"] == pytest.approx(sum(apart) / 3)
        assert row["interval from"] <= row["mean difference"] <= row["interval to"]
        assert row["p corrected"] >= row["p"] == pytest.approx(wilcoxon(apart).pvalue)
    assert list(ranks["mean dice"]) == [pytest.approx(sum(dices[name]) / 3) for name in ranks["experiment"]]
    assert list(ranks["share of rank 1"]) == [0, 0, 1]  # swift is best in every case
    assert ranks.filter(like="share").sum(axis=1).tolist() == pytest.approx([1, 1, 1])
    for name in ("nnunet", "mine", "swift"):
        assert list(cases[f"dice {name}"]) == pytest.approx(dices[name])
    notes = (tmp_path / "comparison" / "notes.txt").read_text()
    assert "liver: nnunet, mine and swift were compared on the same 3 cases." in notes
    assert "liver: short cannot be paired, as no other experiment" in notes
    assert "spleen: nnunet cannot be paired" in notes
    svg = ET.parse(tmp_path / "comparison" / "figures" / "comparison.svg")  # noqa: S314 - our own file
    texts = {"".join(element.itertext()) for element in svg.iter() if element.tag.endswith("text")}
    assert {"liver", "nnunet", "mine \N{MINUS SIGN} swift"} <= texts


def test_one_recipe_of_two_calls(finish, tmp_path):
    first = finish("liver", "nnunet", [0.5, 0.7])
    shutil.copytree(first, tmp_path / "again" / "liver" / "nnunet")
    folders = [first, str(tmp_path / "again" / "liver" / "nnunet")]
    assert main(["compare", *folders, "--output", str(tmp_path / "comparison.csv")]) == 0
    (row,) = tables_of(tmp_path)["differences"].to_dict("records")
    assert (row["first"], row["second"], row["mean difference"], row["p"]) == ("nnunet", "nnunet (2)", 0, 1)


def test_nothing_to_compare(finish, tmp_path):
    assert main(["compare", finish("liver", "all", []), "--output", str(tmp_path / "comparison.csv")]) == 0
    assert [file.name for file in (tmp_path / "comparison").iterdir()] == ["notes.txt"]
    assert "no case was held out" in (tmp_path / "comparison" / "notes.txt").read_text()


def test_experiments_without_held_out_cases(finish, tmp_path):
    folders = [finish("liver", "all", []), finish("liver", "other", [])]
    assert main(["compare", *folders, "--output", str(tmp_path / "comparison.csv")]) == 0
    assert [file.name for file in (tmp_path / "comparison").iterdir()] == ["notes.txt"]
    assert "all and other cannot be compared" in (tmp_path / "comparison" / "notes.txt").read_text()


def test_patients_are_those_of_their_cases(finish, tmp_path):
    """Also if file names, with their ending, are sorted otherwise than the cases' names."""
    owners = {"P1": "a", "P1-2": "b", "P2": "b"}
    folders = [
        finish("liver", "x", [0.9, 0.5, 0.5], owners=owners),
        finish("liver", "y", [0.5] * 3, owners=owners),
    ]
    assert main(["compare", *folders, "--output", str(tmp_path / "comparison.csv")]) == 0
    (row,) = tables_of(tmp_path)["differences"].to_dict("records")
    assert row["mean difference"] == pytest.approx((0.4 + 0) / 2)


@pytest.mark.parametrize("name", ["<script>", "=cmd()", "a \"b\" 'c'", "$x^{$ лёгкое 肝臓"])
def test_names_are_text_in_every_file(name, finish, tmp_path):
    folders = [finish(name, name, [0.5, 0.7]), finish(name, "other", [0.6, 0.9])]
    assert main(["compare", *folders, "--output", str(tmp_path / "comparison.csv")]) == 0
    tables = tables_of(tmp_path)
    assert set(tables["ranks"]["experiment"]) == {cell_text(name), "other"}
    assert set(tables["cases"]["dataset"]) == {cell_text(name)}
    svg = ET.parse(tmp_path / "comparison" / "figures" / "comparison.svg")  # noqa: S314 - our own file
    texts = {"".join(element.itertext()) for element in svg.iter() if element.tag.endswith("text")}
    assert {name, f"{name} \N{MINUS SIGN} other"} <= texts
    assert name in (tmp_path / "comparison" / "notes.txt").read_text()


def test_on_the_screen(finish, capsys):
    assert main(["compare", finish("liver", "nnunet", [0.5, 0.7])]) == 0
    said = capsys.readouterr().out
    assert "liver" in said
    assert "0.6000" in said


def test_an_experiment_that_is_not_finished(finish, tmp_path, refused):
    folders = [finish("liver", "nnunet", [0.5]), str(tmp_path / "liver" / "other")]
    Path(folders[1]).mkdir()
    assert "other holds no finished experiment" in refused("compare", *folders)


@pytest.mark.parametrize("place", ["absolute", "."])
def test_times_of_the_recipe_and_of_what_recipes_share(place, finish, tmp_path, monkeypatch):
    """Without those of a configuration that was trained in an earlier call only."""
    folder = Path(finish("liver", "nnunet", [0.5]))
    monkeypatch.chdir(folder)
    results = {"train/2d_fold_0": 5, "train/2d_fold_1": 6, "train/3d_lowres_fold_0": 7, "report": 1}
    shared = {"check/chunk_0": 1, "check/chunk_1": 2, "fingerprint": 3, "plan/nnUNetPlans": 4}
    for above, files in ((folder, results), (folder.parent, shared)):
        for name, seconds in files.items():
            write_text(above / "benchmarks" / f"{name}.tsv", f"s\th:m:s\n9\t0\n{seconds}\t0\n")
    outcome = read_outcome(Path() if place == "." else folder)
    found = [(time.name, time.seconds, time.jobs) for time in stage_times(outcome)]
    assert found == [
        ("check", 3, 2),
        ("fingerprint", 3, 1),
        ("plan", 4, 1),
        ("train", 11, 2),
        ("report", 1, 1),
    ]
