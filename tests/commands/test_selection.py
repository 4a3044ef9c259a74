"""The verbs that choose and post-process, on a small data set."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys

import pytest
from score_calls import read, rows_of, summary_of, words, write_like
from stage_calls import call, without


def select_words(folder, *names):
    files = [folder / "evaluation" / name / "summary.json" for name in names]
    return ["select", "--candidates", *files, "--output", folder / "selection.json"]


def test_the_choice_and_its_uncertainty(folder, capsys):
    call(*words(folder))
    better = folder / "evaluation" / "2d+3d_fullres"
    shutil.copytree(folder / "data" / "labelsTr", folder / "truth")
    call(
        "evaluate", "--predictions", folder / "truth", "--dataset", folder / "data" / "dataset.json",
        "--output", better / "summary.json", "--workers", 1,
    )  # fmt: skip
    call(*select_words(folder, "2d", "2d+3d_fullres"))
    found = json.loads((folder / "selection.json").read_text())
    assert found["best"]["name"] == "2d+3d_fullres"
    assert found["bootstrap"]["replicates"] == 1000
    first, second = found["bootstrap"]["candidates"]
    assert second["interval"] == [1, 1]
    assert first["interval"][0] < found["candidates"][0]["foreground_mean_dice"] < first["interval"][1]
    assert first["probability_best"] + second["probability_best"] == pytest.approx(1)
    assert "95 % interval" in capsys.readouterr().err

    call(*select_words(folder, "2d", "2d+3d_fullres"), "--settings", "selection.prefer_single_within=0.9")
    preferred = json.loads((folder / "selection.json").read_text())
    assert preferred["best"]["name"] == "2d"
    assert preferred["prefer_single_within"] == 0.9
    assert preferred["bootstrap"] == found["bootstrap"]


def test_candidates_of_one_name(folder, refused):
    call(*words(folder))
    assert "folders of the same name" in refused(*select_words(folder, "2d", "2d"))


def search_words(folder, *settings, data="data"):
    return [
        "postprocess-search", "--selection", folder / "selection.json", "--workers", 2,
        "--dataset", folder / data, "--output", folder / "postprocessing.json",
        *(["--settings", *settings] if settings else []),
    ]  # fmt: skip


def test_no_search_where_the_recipe_wants_none(folder):
    call(*words(folder))
    call(*select_words(folder, "2d"))
    call(*search_words(folder))
    assert json.loads((folder / "postprocessing.json").read_text())["steps"]
    call(*search_words(folder, "postprocessing.largest_component=false"))
    mean = summary_of(folder)["foreground_mean"]["Dice"]
    assert json.loads((folder / "postprocessing.json").read_text()) == {
        "operations": [],
        "steps": [],
        "foreground_mean_dice_before": mean,
        "foreground_mean_dice_after": mean,
    }


def test_results_and_data_that_were_moved_since_they_were_scored(folder):
    fold = folder / "predictions" / "2d" / "fold_0"
    fold.mkdir(parents=True)
    for file in [*(folder / "predictions").glob("*.nii.gz")]:
        file.rename(fold / file.name)
    call(*words(folder, "--predictions", fold))
    call(*select_words(folder, "2d"))
    call(*search_words(folder))
    found = (folder / "postprocessing.json").read_text()
    moved = folder.rename(folder.with_name("moved"))
    call(*search_words(moved))
    assert json.loads(found)["steps"]
    assert (moved / "postprocessing.json").read_text() == found


def test_a_copy_of_the_data_set_is_searched_with_its_own_labels(folder):
    call(*words(folder))
    call(*select_words(folder, "2d"))
    call(*search_words(folder))
    found = (folder / "postprocessing.json").read_text()
    shutil.copytree(folder / "data", folder / "copy")
    for label in (folder / "data" / "labelsTr").iterdir():
        without(label, 1)
    call(*search_words(folder, data="copy"))
    assert json.loads(found)["steps"]
    assert (folder / "postprocessing.json").read_text() == found


def test_all_training_labels_decide_on_the_largest_component(folder):
    """Also those of cases that are not scored."""
    (folder / "predictions" / "phantom_004.nii.gz").unlink()
    call(*words(folder))
    call(*select_words(folder, "2d"))
    by_labels = search_words(folder, "postprocessing.largest_component=if_single_in_labels")
    call(*by_labels)
    found = json.loads((folder / "postprocessing.json").read_text())
    assert found["operations"] == [{"name": "keep_largest", "labels": [label]} for label in (1, 2)]
    assert all(step["accepted"] for step in found["steps"])
    reference = folder / "data" / "labelsTr" / "phantom_004.nii.gz"
    two = read(reference)
    two[0, 0, 0] = 2
    write_like(reference, two)
    call(*by_labels)
    found = json.loads((folder / "postprocessing.json").read_text())
    assert found["operations"] == [{"name": "keep_largest", "labels": [1]}]


def test_without_held_out_cases_only_the_labels_can_decide(folder, capsys):
    shutil.rmtree(folder / "predictions")
    (folder / "predictions").mkdir()
    (folder / "predictions" / "manifest.json").write_text('{"cases": {}}')
    call(*words(folder))
    assert rows_of(folder) == []
    call(*select_words(folder, "2d"))
    assert "2d is taken: no case is held out" in " ".join(capsys.readouterr().err.split())
    assert json.loads((folder / "selection.json").read_text())["bootstrap"] is None
    found = []
    for settings in ([], ["postprocessing.largest_component=if_single_in_labels"]):
        call(*search_words(folder, *settings))
        found.append(json.loads((folder / "postprocessing.json").read_text()))
        assert math.isnan(found[-1]["foreground_mean_dice_after"])
    assert (found[0]["operations"], found[0]["steps"]) == ([], [])
    assert [operation["labels"] for operation in found[1]["operations"]] == [[1], [2]]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ([], "keep_largest"),
        (
            ["postprocessing.largest_component=false", "postprocessing.remove_below_mm3=[1,20]"],
            "remove_small",
        ),
    ],
)
def test_what_pays_is_applied(settings, name, folder, capsys):
    """The Dice of the label maps that are written is the one that the search foresaw."""
    call(*words(folder))
    call(*select_words(folder, "2d"))
    call(*search_words(folder, *settings))
    found = json.loads((folder / "postprocessing.json").read_text())
    assert [operation["name"] for operation in found["operations"]] == [name]
    assert "Dice 0." in capsys.readouterr().err
    final = folder / "final"
    call(
        "postprocess", "--postprocessing", folder / "postprocessing.json", "--workers", 2,
        "--dataset", folder / "data" / "dataset.json", "--input", folder / "predictions",
        "--output", final, "--manifest", final / "manifest.json",
    )  # fmt: skip
    assert read(folder / "predictions" / "phantom_000.nii.gz")[0, 0, 0] == 1
    assert read(final / "phantom_000.nii.gz")[0, 0, 0] == 0
    shutil.rmtree(folder / "predictions")
    shutil.copytree(final, folder / "predictions")
    call(*words(folder))
    after = summary_of(folder)["foreground_mean"]["Dice"]
    assert after == found["foreground_mean_dice_after"] > found["foreground_mean_dice_before"]


@pytest.mark.parametrize(
    "verb", ["crossvalidate", "evaluate", "find_best", "postprocess", "postprocess_search", "select"]
)
def test_these_verbs_start_at_once(verb):
    heavy = {"torch", "pandas", "matplotlib", "jinja2", "snakemake"}
    code = f"import sys, segflow.commands.main, segflow.commands.{verb}; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not heavy & set(said.split())
