"""Too few cases to hold any out, or all of them wanted for training: a network on all, and no scores."""

from __future__ import annotations

import csv
import json
import math

import pytest
from workflow_runs import label_new_images, new_experiment

pytestmark = pytest.mark.workflow


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cases", "changes", "warning"),
    [
        (1, {}, "1 case is too few for a cross-validation"),
        (2, {"configurations": ["2d", "3d_fullres"]}, "2 cases are too few for a cross-validation"),
        (6, {"folds": "all"}, ""),
    ],
)
def test_from_all_cases_to_labels_of_new_images(tmp_path, cases, changes, warning):
    experiment = new_experiment(tmp_path, cases)
    experiment.configure(**changes)
    said = " ".join(experiment.finish().split())
    results = experiment.results
    assert warning in said
    assert "not scored: trained on all cases" in said

    wanted = set(changes.get("configurations", ["3d_fullres"]))
    trained = {file.parts[-3:-1] for file in results.glob("models/*/*/model.pt")}
    assert trained == {(name, "fold_all") for name in wanted}
    with (results / "models" / "3d_fullres" / "fold_all" / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["validation_loss"] for row in rows] == ["", ""]
    log = (results / "logs" / "train" / "3d_fullres_fold_all.log").read_text()
    assert f"on all {cases} cases; none is held out" in log

    card = json.loads((results / "model" / "model.json").read_text())
    assert (card["folds"], card["configurations"]) == (["all"], ["3d_fullres"])
    assert {candidate["name"] for candidate in card["selection"]["candidates"]} == wanted
    assert math.isnan(card["selection"]["best"]["foreground_mean_dice"])
    assert card["postprocessing"]["operations"] == []
    assert json.loads((results / "final" / "summary.json").read_text())["metric_per_case"] == []
    assert not list((results / "final").glob("*.nii.gz"))
    report = (results / "report.html").read_text()
    assert "Networks were trained on all cases, so none could be scored" in report
    assert ("too few for a cross-validation" in report) == bool(warning)
    assert warning in report

    assert label_new_images(experiment)[0].name == "phantom_000.nii.gz"
    assert "Nothing to be done" in experiment.finish()


def test_a_cascade_needs_held_out_cases(tmp_path):
    experiment = new_experiment(tmp_path, 1)
    experiment.configure(configurations=["3d_lowres", "3d_cascade_fullres"])
    said = experiment.fail()
    assert "3d_cascade_fullres learns from predictions of held-out cases, and no case of data is held" in said
    assert not experiment.output.exists()


def test_a_cascade_needs_every_case_held_out(tmp_path):
    """It is left out, or refused if it is named, before anything is trained."""
    experiment = new_experiment(tmp_path, 4)
    names = [f"phantom_{number:03d}" for number in range(4)]
    folds = [{"train": names[:3], "val": names[3:]}]
    (experiment.dataset / "splits_final.json").write_text(json.dumps(folds))
    experiment.configure(folds=[0], planning={"gpu_memory_gb": 0.01})
    said = experiment.finish("--", "prepared")
    assert "data: 3d_cascade_fullres is left out, as it learns from predictions of held-out cases" in said
    prepared = {file.parent.name for file in experiment.shared.glob("preprocessed/*/*/prepared.json")}
    assert prepared == {"2d", "3d_fullres", "3d_lowres"}
    changes = {"folds": [0], "planning": {"gpu_memory_gb": 0.01}}
    experiment.configure(configurations=["3d_lowres", "3d_cascade_fullres"], **changes)
    assert "and not every case of data is held out; leave it out" in experiment.fail("--", "prepared")
