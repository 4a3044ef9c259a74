"""From a phantom data set to a model package, its scores, a report, and labels for new images."""

from __future__ import annotations

import base64
import csv
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from report_pages import check_page
from workflow_runs import Experiment, label_new_images

from segflow.commands.main import main
from segflow.commands.provenance import provenance_file

pytestmark = pytest.mark.workflow

#: Files that no later call may touch once they are there.
DURABLE = (
    "*.json",
    "check/*.json",
    "plans/*/plans.json",
    "preprocessed/*/*/prepared.json",
    "preprocessed/*/*/manifest/*.json",
    "nnunet/*.json",
    "nnunet/models/*/*/model.pt",
    "nnunet/predictions/*/*/manifest.json",
    "nnunet/evaluation/*/*.json",
    "nnunet/final/*.json",
    "nnunet/model/model.json",
    "nnunet/report.html",
)

#: In the order in which the scheduler gets to them.
STAGES = (
    "check", "fingerprint", "plan", "preprocess", "folds", "train", "predict_fold", "evaluate", "ensemble",
    "crossvalidate", "select", "postprocess_search", "postprocess", "assess", "make_package", "score_fast",
    "make_report",
)  # fmt: skip


def finished_files(experiment: Experiment) -> dict[str, bytes]:
    """How every artefact whose job has ended came about; Snakemake marks those of a job cut short.

    Its provenance holds the time at which it was made. The file's own age says nothing: a call that ends makes none
    older than what it is made from.
    """
    marks = (experiment.folder / ".snakemake" / "incomplete").glob("*")
    cut_short = {base64.b64decode(mark.name).decode() for mark in marks if mark.is_file()}
    files = {file for pattern in DURABLE for file in experiment.shared.glob(pattern)}
    whole = [file for file in files if str(file.relative_to(experiment.folder)) not in cut_short]
    records = {str(file): provenance_file(file) for file in whole}
    return {file: record.read_bytes() for file, record in records.items() if record.exists()}


def same_geometry(one: Path, other: Path) -> bool:
    first, second = sitk.ReadImage(str(one)), sitk.ReadImage(str(other))
    return all(
        np.allclose(getattr(first, get)(), getattr(second, get)())
        for get in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection")
    )


def test_whole_pipeline(finished):
    results = finished.results
    assert "best model" in (finished.folder / "said.txt").read_text()
    plan = json.loads((results / "model" / "plans.json").read_text())
    assert set(plan["configurations"]) == {"2d", "3d_fullres"}
    packed = sorted(file for file in (results / "model").rglob("*") if file.is_file())
    assert {"README.md", "model.json", "plans.json", "fold_0.safetensors"} <= {file.name for file in packed}
    assert not any(str(finished.folder).encode() in file.read_bytes() for file in packed)
    assert (results / "model.provenance").is_file()
    selection = json.loads((results / "selection.json").read_text())
    assert [c["name"] for c in selection["candidates"]] == ["2d", "3d_fullres", "2d+3d_fullres"]
    assert selection["bootstrap"]["replicates"] == 1000

    final = json.loads((results / "final" / "summary.json").read_text())
    folds = json.loads((finished.shared / "splits_final.json").read_text())
    scored = {Path(case["prediction_file"]).name for case in final["metric_per_case"]}
    assert scored == {f"{name}.nii.gz" for name in folds[0]["val"]}
    for file in (results / "final").glob("*.nii.gz"):
        assert same_geometry(file, finished.dataset / "labelsTr" / file.name)
    with (results / "models" / "2d" / "fold_0" / "training.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]
    assert (results / "models" / "2d" / "fold_0" / "progress.png").exists()
    with (results / "evaluation" / "2d" / "summary.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * len(scored)
    report = (results / "report.html").read_text()
    for words in ("<html", "95 % interval", "Ranks in 1000 resamples", "keep the largest component"):
        assert words in report
    tables = {f"tables/{file.name}": file.read_text() for file in (results / "report" / "tables").iterdir()}
    check_page(report, tables)
    assert "each of" in (results / "report" / "methods.txt").read_text()
    for words in ("The spacing was given", "segflow run data --configurations", "training.epochs=2"):
        assert words in report

    before = finished_files(finished)
    assert "Nothing to be done" in finished.finish()
    assert finished_files(finished) == before


def test_what_is_sent_around_names_no_folder(finished, tmp_path):
    """Neither that of the results or of the data set, nor that of the page."""
    page = tmp_path / "anita" / "page.html"
    words = ["report", str(finished.results), "--dataset", str(finished.dataset), "--output", str(page)]
    assert main(words) == 0
    files = [page, *(file for file in page.with_suffix("").rglob("*") if file.is_file())]
    assert {file.suffix for file in files} >= {".html", ".csv", ".svg", ".txt", ".bib"}
    for file in files:
        content = file.read_bytes()
        for folder in ("anita", "pytest-", str(finished.folder), str(Path.home())):
            assert folder.encode() not in content, f"{file.name} names {folder}"


def test_a_call_for_trainings_shows_no_outcome(finished):
    """It would be that of an earlier call."""
    assert "best model" not in finished.finish("--", "models")


def test_new_images_are_labelled_beside_a_broken_one(finished):
    labels, _ = label_new_images(finished)
    assert same_geometry(labels, finished.folder / "new" / "phantom_000_0000.nii.gz")
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(labels))).dtype == np.uint8
    labels.unlink()
    found = label_new_images(finished, broken=True)
    assert [file.name for file in found] == ["phantom_000.nii.gz", "prediction.json"]


@pytest.mark.slow
def test_cascade(experiment):
    names = ["3d_lowres", "3d_cascade_fullres"]
    experiment.configure(folds=[0], configurations=names, planning={"gpu_memory_gb": 0.01})
    said = experiment.finish()
    assert said.count("3d_lowres is trained on all 5 folds, also on those that `folds` leaves out") == 1
    selection = json.loads((experiment.results / "selection.json").read_text())
    assert [c["name"] for c in selection["candidates"]][1] == "3d_cascade_fullres"
    chosen = selection["best"]["name"]
    stages = json.loads((experiment.results / "model" / "model.json").read_text())["stages"]
    assert ("3d_cascade_fullres" in chosen) == ("3d_lowres" in stages or "3d_lowres" in chosen.split("+"))
    assert label_new_images(experiment)[0].name == "phantom_000.nii.gz"


def begun(file: Path, start: int) -> bool:
    """Whether a job has begun since then: its log is removed and made again when it starts."""
    try:
        return file.stat().st_mtime_ns >= start
    except FileNotFoundError:
        return False


def interrupt_in(experiment: Experiment, stage: str) -> bool:
    """Start the workflow, press Ctrl-C as soon as a job of the stage is under way; False if it ended before."""
    folders = (experiment.shared / "logs", experiment.results / "logs")
    start = time.time_ns()
    with experiment.start("--quiet", "all") as process:
        while process.poll() is None:
            logs = [
                file for logs in folders for file in (logs / f"{stage}.log", *(logs / stage).glob("*.log"))
            ]
            if any(begun(log, start) for log in logs):
                os.killpg(process.pid, signal.SIGINT)
                break
            time.sleep(0.02)
        process.communicate(timeout=60)
        return process.returncode != 0


@pytest.mark.slow
def test_interrupted_in_every_stage(experiment):
    interrupted = []
    for stage in STAGES:
        before = finished_files(experiment)
        if interrupt_in(experiment, stage):
            interrupted.append(stage)
        after = finished_files(experiment)
        redone = [file for file in before if after.get(file) != before[file]]
        assert not redone, f"interrupted in {stage}, the next call redid {redone}"
    experiment.finish()
    assert len(finished_files(experiment)) > len(STAGES)
    assert {"check", "fingerprint", "preprocess", "train", "predict_fold"} <= set(interrupted), interrupted
    assert (experiment.results / "report.html").exists()
    assert "Nothing to be done" in experiment.finish()
