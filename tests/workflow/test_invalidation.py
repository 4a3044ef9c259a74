"""Exact invalidation: for each change, exactly the stages that run again.

Where the answer is known beforehand, a dry run is asked, which decides as a real one does. Where a stage has to run
before it is known what follows (its result may be the same), the call is real. `test_really` (exhaustive) repeats the
first kind for real.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import SimpleITK as sitk
from foreseen import BASE, DATA, FORESEEN, ORDER, edit, since
from job_server import shared_jobs
from workflow_runs import TINY, Experiment

from segflow.commands.main import main
from segflow.storage.files import digest_of

pytestmark = pytest.mark.workflow

#: Rows that a short run of the tests keeps.
QUICK = ("nothing", "learning rate", "code of a loss", "a comment in every module")
STEP = {"inference": {"mirroring": False, "step": 0.6}}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FORESEEN]
)
def test_foreseen(finished, name):
    change, expected = FORESEEN[name]
    change(finished)
    assert set(finished.jobs("--dry-run")) == expected


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FORESEEN)
def test_really(finished, name):
    change, expected = FORESEEN[name]
    change(finished)
    assert set(finished.jobs()) == expected
    assert not finished.jobs()


@pytest.mark.slow
def test_a_fold_more_trains_that_fold_only(finished):
    finished.configure(**BASE | {"folds": [0, 1]})
    jobs = finished.jobs("--dry-run")
    assert (jobs["train"], jobs["predict_fold"], jobs["ensemble"], jobs["evaluate"]) == (2, 2, 1, 3)


@pytest.mark.slow
def test_a_configuration_enabled(finished):
    """The first one's label maps stay, but its probabilities are needed now."""
    shutil.rmtree(finished.output)
    finished.configure(**BASE, configurations=["2d"])
    alone = finished.jobs()
    assert (alone["preprocess"], alone["train"], alone["ensemble"]) == (2, 1, 0)
    finished.configure(**BASE, configurations=["2d", "3d_fullres"])
    jobs = finished.jobs("--dry-run")
    assert set(jobs) == {"preprocess", "manifest"} | since("train")
    assert (jobs["preprocess"], jobs["train"], jobs["predict_fold"], jobs["evaluate"]) == (2, 1, 2, 3)


# What has to run before it is known what follows.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("fingerprint/integrity.py", {"check"}),
        ("fingerprint/extract.py", {"fingerprint", "plan"}),
        ("planning/patch.py", {"plan", "make_report"}),  # which says why the plan is as it is
        ("planning/folds.py", {"folds"}),
        # The package predicts raw images anew, as its users would.
        ("preprocessing/normalise.py", {"preprocess", "manifest", "score_fast", "make_report"}),
        ("commands/manifest.py", {"manifest"}),
    ],
)
def test_nothing_follows_from_the_same_result(finished, module, expected):
    edit(module)(finished)
    assert set(finished.jobs()) == expected
    assert not finished.jobs()
    shutil.rmtree(finished.folder / ".snakemake")
    assert not finished.jobs()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "trains"), [({"gpu_memory_gb": 7}, False), ({"head_bias": False}, True)], ids=str
)
def test_a_plan_that_changes_in_its_networks_only(finished, change, trains):
    """Another GPU (its networks are the same here); heads without biases. The prepared cases are the same."""
    finished.configure(**BASE | {"planning": {**BASE["planning"], **change}})
    jobs = set(finished.jobs())
    assert jobs - since("train") == {"plan"}
    assert ("train" in jobs) == trains


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"label_interpolation": "nearest"}, {"normalization": "ct"}], ids=str)
def test_a_plan_that_prepares_cases_otherwise(finished, change):
    finished.configure(**BASE | {"planning": {**BASE["planning"], **change}})
    assert set(finished.jobs()) >= {"plan", "preprocess", "manifest", "train", "predict_fold", "make_report"}
    assert not finished.jobs()


def edit_plan(experiment: Experiment, **changes: dict[str, object]) -> None:
    """Write edited.json: the planner's plan with other or further configurations."""
    data = json.loads((experiment.shared / "plans" / "nnUNetPlans" / "plans.json").read_text())
    for name, entry in changes.items():
        data["configurations"][name] = data["configurations"].get(name, {}) | entry
    (experiment.folder / "edited.json").write_text(json.dumps(data))
    experiment.configure(folds=BASE["folds"], plan="edited.json")


def prepared(experiment: Experiment) -> dict[str, int]:
    """When each prepared case was written."""
    files = experiment.shared.glob("preprocessed/*/*/*_image.npy")
    return {str(file.relative_to(experiment.shared)): file.stat().st_mtime_ns for file in files}


@pytest.mark.slow
def test_an_edited_plan(finished):
    before = prepared(finished)
    edit_plan(finished)
    assert finished.jobs() == {"plan": 1}

    edit_plan(finished, **{"2d_small": {"inherits_from": "2d", "batch_size": 2}})
    jobs = finished.jobs()
    assert set(jobs) == {"plan"} | since("train")
    assert (jobs["train"], jobs["predict_fold"], jobs["ensemble"], jobs["evaluate"]) == (1, 1, 2, 3)
    card = json.loads((finished.results / "models" / "2d_small" / "fold_0" / "card.json").read_text())
    assert (card["configuration"]["name"], card["configuration"]["batch_size"]) == ("2d_small", 2)
    names = [c["name"] for c in json.loads((finished.results / "selection.json").read_text())["candidates"]]
    assert names == ["2d", "3d_fullres", "2d_small", "2d+3d_fullres", "2d+2d_small", "3d_fullres+2d_small"]
    assert not finished.jobs()

    edit_plan(finished, **{"2d": {"batch_size": 17}})
    jobs = finished.jobs()
    assert (jobs["plan"], jobs["train"], jobs["predict_fold"]) == (1, 1, 1)
    assert prepared(finished) == before
    os.utime(finished.folder / "edited.json")
    assert not finished.jobs()


@pytest.mark.slow
def test_of_pretrained_weights_the_content_decides_and_neither_name_nor_age(finished):
    def begin_with(file):
        finished.configure(**BASE, training={**TINY["training"], "pretrained": {"2d": file}})

    trained = finished.results / "models" / "2d" / "fold_0" / "model.pt"
    first, moved = finished.folder / "first.pt", finished.folder / "moved.pt"
    shutil.copy(trained, first)
    begin_with("first.pt")
    assert finished.jobs()["train"] == 1
    assert digest_of(trained) != digest_of(first)
    provenance = json.loads(trained.with_name("model.pt.provenance").read_text())
    assert provenance["inputs"]["first.pt"] == digest_of(first)

    os.utime(first)
    assert not finished.jobs("--dry-run")
    first.rename(moved)
    begin_with("moved.pt")
    assert not finished.jobs("--dry-run")
    shutil.copy(trained, moved)
    assert finished.jobs("--dry-run")["train"] == 1


# Raw data.


def image_of(experiment: Experiment, case: str) -> Path:
    return experiment.dataset / "imagesTr" / f"{case}_0000.nii.gz"


def label_of(experiment: Experiment, case: str) -> Path:
    return experiment.dataset / "labelsTr" / f"{case}.nii.gz"


def rewrite(file: Path, change: Callable[[sitk.Image], sitk.Image]) -> None:
    sitk.WriteImage(change(sitk.ReadImage(str(file))), str(file))


def describe(experiment: Experiment, **changes: object) -> None:
    file = experiment.dataset / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def brighter(image: sitk.Image) -> sitk.Image:
    return sitk.ShiftScale(image, 0.0, 1.5)


def one_label(label: sitk.Image) -> sitk.Image:
    return sitk.BinaryThreshold(label, 1, 1, 1, 0)


def prepared_again(before: dict[str, int], after: dict[str, int]) -> set[str]:
    names = {name for name, written in after.items() if before.get(name) != written}
    return {match[0] for name in names if (match := re.search(r"phantom_\d+", name))}


@pytest.mark.slow
def test_files_touched_and_a_description_that_decides_nothing(finished):
    for file in (finished.dataset / "imagesTr").iterdir():
        os.utime(file)
    os.utime(finished.dataset / "dataset.json")
    assert not finished.jobs()
    describe(finished, licence="CC-BY")
    assert not finished.jobs()


@pytest.mark.slow
def test_a_data_set_named_by_another_path_is_only_checked(finished, capfd, monkeypatch):
    (finished.folder / "elsewhere").mkdir()
    finished.dataset.rename(finished.folder / "elsewhere" / "data")
    finished.configure(**BASE, dataset=str(finished.folder / "elsewhere" / "data"))
    monkeypatch.chdir(finished.folder)
    assert main(["why", *finished.words()]) == 0
    said = re.sub(r"[\s│]+", " ", capfd.readouterr().out)
    assert "check 2 files, cases, folds or configurations were added, removed or moved" in said
    for stage in ("fingerprint", "plan"):
        assert f"{stage} 1 only if what it reads comes out otherwise" in said
    assert set(finished.jobs()) == {"check"}
    assert not finished.jobs()
    finished.configure(**BASE, dataset="elsewhere/data", postprocessing={"fill_holes": True})
    assert set(finished.jobs()) >= {"check"} | since("postprocess_search")


@pytest.mark.slow
def test_results_that_are_copied_with_their_data_set(finished, tmp_path):
    """In files of another age, under other names, from another folder, with another learning rate."""
    other = Experiment(tmp_path / "other")
    other.folder.mkdir()
    shutil.copytree(finished.dataset, other.dataset, copy_function=shutil.copyfile)
    shutil.copytree(finished.output, other.folder / "moved", copy_function=shutil.copyfile)
    shutil.rmtree(finished.folder)
    other.configure(**BASE, output=str(other.folder / "moved"))
    assert set(other.jobs()) <= {"check"}
    other.configure(**BASE, output="moved")
    assert not other.jobs()
    other.configure(**BASE, output="moved", training={**TINY["training"], "learning_rate": 0.02})
    assert set(other.jobs("--dry-run")) == since("train")


@pytest.mark.slow
def test_a_large_raw_file_touched(finished):
    """Snakemake takes no digest of files over 1 MB; the check does, and what follows is left alone."""
    with image_of(finished, "phantom_000").open("ab") as file:
        file.write(bytes(1 << 20))  # zeros after the end of a gzip file are padding
    finished.finish()
    os.utime(image_of(finished, "phantom_000"))
    assert finished.jobs() == {"check": 1}
    assert not finished.jobs()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "file_of", "change"),
    [("phantom_001", image_of, brighter), ("phantom_002", label_of, one_label)],
)
def test_an_image_or_a_label_changed(finished, case, file_of, change):
    before = prepared(finished)
    rewrite(file_of(finished, case), change)
    jobs = finished.jobs()
    assert set(jobs) == since("train") | {"check", "fingerprint", "plan", "preprocess", "manifest"}
    assert (jobs["check"], jobs["preprocess"]) == (1, 2)
    assert prepared_again(before, prepared(finished)) == {case}


@pytest.mark.slow
def test_a_case_added_and_removed(finished):
    before = prepared(finished)
    for file_of in (image_of, label_of):
        shutil.copy(file_of(finished, "phantom_000"), file_of(finished, "phantom_100"))
    describe(finished, numTraining=7)
    jobs = finished.jobs()
    assert set(jobs) - set(ORDER) == set(DATA)
    assert (jobs["check"], jobs["preprocess"]) == (1, 2)
    assert prepared_again(before, prepared(finished)) == {"phantom_100"}

    for file_of in (image_of, label_of):
        file_of(finished, "phantom_100").unlink()
    describe(finished, numTraining=6)
    jobs = finished.jobs()
    assert set(jobs) - set(ORDER) == set(DATA)
    assert (jobs["check"], jobs["preprocess"]) == (1, 2)
    assert not finished.jobs()


@pytest.mark.slow
def test_patients(finished):
    """Each case is a patient: the folds are the same, and the scores name them. Two cases of one: other folds."""
    finished.configure(**BASE, patients="[0-9]+")
    assert set(finished.jobs()) == {"folds"} | since("evaluate")
    assert not finished.jobs()
    cases = [f"phantom_{number:03}" for number in range(6)]
    rows = [f"{case},{max(number, 1)}\n" for number, case in enumerate(cases)]
    (finished.dataset / "patients.csv").write_text("case,patient\n" + "".join(rows))
    finished.configure(**BASE)
    assert set(finished.jobs("--dry-run")) >= {"folds"}
    assert set(finished.jobs()) == {"folds"} | since("train")
    os.utime(finished.dataset / "patients.csv")
    assert not finished.jobs()


@pytest.mark.slow
def test_a_raw_file_that_changes_during_the_call(finished):
    """What is read early must not look younger than it is at the end of a long call."""
    finished.configure(**BASE | {"seed": 1})
    with finished.start("--quiet", "all", python=shared_jobs().python) as process:
        logs = finished.results / "logs" / "train"
        before = {log: log.stat().st_mtime_ns for log in logs.glob("*.log")}
        while process.poll() is None and all(
            log.exists() and log.stat().st_mtime_ns == before[log] for log in before
        ):
            time.sleep(0.02)
        rewrite(label_of(finished, "phantom_002"), one_label)
        process.communicate(timeout=300)
        assert process.returncode == 0
    assert {"check", "preprocess", "train"} <= set(finished.jobs())


# Ages, lost records, failures.


@pytest.mark.slow
def test_results_too_large_for_a_digest(finished):
    """Of files over 1 MB, such as weights, only the age is known."""
    assert not finished.jobs("--dry-run", "--max-checksum-file-size", "1")
    finished.configure(**BASE, **STEP)
    finished.finish()
    assert not finished.jobs("--dry-run", "--max-checksum-file-size", "1")


@pytest.mark.slow
def test_snakemakes_folder_deleted(finished):
    shutil.rmtree(finished.folder / ".snakemake")
    assert not finished.jobs()
    shutil.rmtree(finished.folder / ".snakemake")
    finished.configure(**BASE, **STEP)
    assert set(finished.jobs("--dry-run")) == since("predict_fold")


@pytest.mark.slow
def test_a_failed_rerun_is_repeated(finished):
    """A training that fails removes the old weights; with the old settings, the next call must train again."""
    finished.configure(**BASE, training={**TINY["training"], "learning_rate": 1e30})
    finished.fail()
    finished.configure(**BASE)
    assert {"train", "predict_fold"} <= set(finished.jobs("--dry-run"))


def test_why(finished, capfd, monkeypatch):
    finished.configure(**BASE, **STEP)
    monkeypatch.chdir(finished.folder)
    assert main(["why", *finished.words()]) == 0
    said = re.sub(r"[\s│]+", " ", capfd.readouterr().out)
    assert "predict fold 2 inference.step: 0.5 → 0.6" in said
    assert "ensemble 1 what it reads is made again" in said
