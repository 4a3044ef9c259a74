"""Stages as the workflow calls them: what they leave, and what they do not do twice."""

from __future__ import annotations

import json
import shutil

import pytest
from stage_calls import call, cases_in, in_this_process, plan_words, preprocess_words, without

from segflow.commands import evaluate, preprocess
from segflow.commands.main import main
from segflow.io.plans import read_configuration, read_plan, read_preparation


def test_parts_are_those_of_the_plan(planned):
    plan = read_plan(planned / "plans.json")
    for name, configuration in plan.configurations.items():
        assert read_configuration(planned / "network" / f"{name}.json") == configuration
        assert read_preparation(planned / "preparation" / f"{name}.json") == plan.preparation(name)


def test_options_and_settings_of_planning_mean_the_same(project):
    plans = []
    for words in (
        ["--settings", "planning.gpu_memory_gb=3.0", "planning.spacing_mm=[2.0,1.5,1.5]"],
        ["--gpu-memory", "3", "--spacing", "2", "1.5", "1.5"],
        ["--gpu-memory", "3", "--spacing", "2", "1.5", "1.5", "--settings", "planning.gpu_memory_gb=9"],
    ):
        call(*plan_words(project), *words)
        plans.append((project / "plans.json").read_text())
    assert plans[0] == plans[1] == plans[2]
    assert read_plan(project / "plans.json").configurations["3d_fullres"].spacing_mm == (2.0, 1.5, 1.5)


def test_chunks_of_the_check_are_the_whole(project):
    for chunk in range(4):
        output = project / f"check_{chunk}.json"
        call("check", project / "data", "--chunk", f"{chunk}/4", "--output", output, "--workers", 1)
    parts = [cases_in(project / f"check_{chunk}.json") for chunk in range(4)]
    found = sorted((case for part in parts for case in part), key=lambda case: case["identifier"])
    assert found == cases_in(project / "check.json")


@pytest.fixture
def prepared_cases(monkeypatch):
    """Identifiers of the cases that are really prepared."""
    seen = []
    original = preprocess.prepare_case

    def spy(raw, *others):
        seen.append(raw.identifier)
        return original(raw, *others)

    monkeypatch.setattr(preprocess, "prepare_case", spy)
    monkeypatch.setattr(preprocess, "map_cases", in_this_process)
    return seen


def test_prepared_cases_are_not_prepared_again(project, prepared_cases):
    call(*preprocess_words(project))
    manifest = project / "2d" / "manifest" / "chunk_0.json"
    first = cases_in(manifest)
    assert list(first) == prepared_cases == [f"phantom_00{number}" for number in range(5)]
    call(*preprocess_words(project))
    call(*preprocess_words(project, check=False))  # the digests it takes itself are those of the check
    assert len(prepared_cases) == 5
    (project / "2d" / "phantom_003_labels.npy").unlink()
    call(*preprocess_words(project))
    assert prepared_cases[5:] == ["phantom_003"]
    assert cases_in(manifest) == first


def test_a_changed_file_is_prepared_again(project, prepared_cases):
    call(*preprocess_words(project))
    without(project / "data" / "labelsTr" / "phantom_000.nii.gz", 2)
    del prepared_cases[:]
    call("check", project / "data", "--output", project / "check.json", "--workers", 1)
    call(*preprocess_words(project))
    assert prepared_cases == ["phantom_000"]


@pytest.mark.parametrize("change", ["preparation", "labels"])
def test_all_are_prepared_again_when_it_is_done_differently(change, project, prepared_cases):
    call(*preprocess_words(project))
    if change == "preparation":
        call(*plan_words(project), "--parts", project, "--spacing", 2, 1.5, 1.5)
    else:
        description = json.loads((project / "data" / "dataset.json").read_text())
        description["labels"] = {"background": 0, "organ": [1, 2], "lesion": 2}
        description["regions_class_order"] = [1, 2]
        (project / "data" / "dataset.json").write_text(json.dumps(description))
    call(*preprocess_words(project))
    assert len(prepared_cases) == 10


def test_a_bad_case_does_not_stop_the_others_nor_is_their_work_lost(project, prepared_cases, capsys):
    bad = project / "data" / "imagesTr" / "phantom_001_0000.nii.gz"
    good = bad.read_bytes()
    bad.write_bytes(b"no image")
    assert main([str(word) for word in preprocess_words(project, check=False)]) == 1
    assert "phantom_001" in capsys.readouterr().err
    assert not (project / "2d" / "manifest").exists()
    bad.write_bytes(good)
    del prepared_cases[:]
    call(*preprocess_words(project, check=False))
    assert prepared_cases == ["phantom_001"]


@pytest.fixture
def predictions(project):
    """Label maps to score: the truth itself."""
    shutil.copytree(project / "data" / "labelsTr", project / "predictions")
    return project / "predictions"


def evaluate_words(folder):
    return [
        "evaluate", "--predictions", folder / "predictions", "--dataset", folder / "data" / "dataset.json",
        "--output", folder / "summary.json", "--workers", 1,
    ]  # fmt: skip


def test_scores_are_not_computed_again_after_an_interruption(project, predictions, monkeypatch):
    scored = []
    original = evaluate.score_case

    def spy(*arguments, **options):
        if len(scored) == stop_after:
            raise KeyboardInterrupt
        scored.append(options.get("prediction_file") or arguments)
        return original(*arguments, **options)

    monkeypatch.setattr(evaluate, "score_case", spy)
    monkeypatch.setattr(evaluate, "map_cases", in_this_process)
    stop_after = 3
    assert main([str(word) for word in evaluate_words(project)]) == 130
    assert (project / "summary.unfinished.jsonl").exists()
    assert not (project / "summary.json").exists()
    without(predictions / "phantom_001.nii.gz", 2)  # another label map under the same name
    stop_after = None
    call(*evaluate_words(project))
    assert len(scored) == 3 + 3
    resumed = (project / "summary.json").read_text()
    assert not list(project.glob("*unfinished*"))
    call(*evaluate_words(project))
    assert len(scored) == 3 + 3 + 5
    assert (project / "summary.json").read_text() == resumed


def test_no_search_where_the_recipe_wants_none(project, predictions):
    call(*evaluate_words(project))
    call("select", "--candidates", project / "summary.json", "--output", project / "selection.json")
    words = [
        "postprocess-search", "--selection", project / "selection.json",
        "--dataset", project / "data" / "dataset.json", "--output", project / "postprocessing.json",
    ]  # fmt: skip
    call(*words)
    assert json.loads((project / "postprocessing.json").read_text())["steps"]
    call(*words, "--settings", "postprocessing.largest_component=false")
    found = json.loads((project / "postprocessing.json").read_text())
    mean = json.loads((project / "summary.json").read_text())["foreground_mean"]["Dice"]
    assert found == {
        "operations": [],
        "steps": [],
        "foreground_mean_dice_before": mean,
        "foreground_mean_dice_after": mean,
    }


def test_errors_of_the_check_name_every_bad_case(project, capsys):
    for number in (1, 3):
        (project / "data" / "imagesTr" / f"phantom_00{number}_0000.nii.gz").write_bytes(b"no image")
    assert main(["check", str(project / "data"), "--workers", "1"]) == 1
    said = capsys.readouterr().err
    assert "phantom_001" in said
    assert "phantom_003" in said
