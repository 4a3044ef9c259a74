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
from workflow_runs import TINY, Experiment, copy_of_program

from segflow.commands.main import main

pytestmark = pytest.mark.workflow


#: Rows that a short run of the tests keeps.
QUICK = ("nothing", "learning rate", "code of a loss", "a comment in every module")


@pytest.fixture
def experiment(finished) -> Experiment:
    return finished


def changed(finished: Experiment, folder: Path, change: Callable[[Experiment], None]) -> Experiment:
    """A copy of the experiment and of the program, with one change."""
    experiment = Experiment(finished.folder, copy_of_program(folder / "program"))
    change(experiment)
    return experiment


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FORESEEN]
)
def test_foreseen(finished, tmp_path, name):
    change, expected = FORESEEN[name]
    assert set(changed(finished, tmp_path, change).jobs("--dry-run")) == expected


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FORESEEN)
def test_really(finished, tmp_path, name):
    change, expected = FORESEEN[name]
    experiment = changed(finished, tmp_path, change)
    assert set(experiment.jobs()) == expected
    assert not experiment.jobs()


@pytest.mark.slow
def test_a_fold_more_trains_that_fold_only(experiment):
    experiment.configure(**BASE | {"folds": [0, 1]})
    jobs = experiment.jobs("--dry-run")
    assert (jobs["train"], jobs["predict_fold"], jobs["ensemble"], jobs["evaluate"]) == (2, 2, 1, 3)


@pytest.mark.slow
def test_a_configuration_enabled(experiment):
    """The first one's label maps stay, but its probabilities are needed now."""
    shutil.rmtree(experiment.output)
    experiment.configure(**BASE, configurations=["2d"])
    alone = experiment.jobs()
    assert (alone["preprocess"], alone["train"], alone["ensemble"]) == (2, 1, 0)
    experiment.configure(**BASE, configurations=["2d", "3d_fullres"])
    jobs = experiment.jobs("--dry-run")
    assert set(jobs) == {"preprocess", "prepared"} | since("train")
    assert (jobs["preprocess"], jobs["train"], jobs["predict_fold"], jobs["evaluate"]) == (2, 1, 2, 3)


# What has to run before it is known what follows.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("fingerprint/integrity.py", {"check"}),
        ("fingerprint/extract.py", {"fingerprint", "plan"}),
        ("planning/patch.py", {"plan"}),
        ("planning/folds.py", {"folds"}),
        ("preprocessing/normalise.py", {"preprocess", "prepared"}),
        ("commands/manifest.py", {"prepared"}),
    ],
)
def test_the_same_result_stops_the_wave(finished, tmp_path, module, expected):
    experiment = changed(finished, tmp_path, edit(module))
    assert set(experiment.jobs()) == expected
    assert not experiment.jobs()
    shutil.rmtree(experiment.folder / ".snakemake")
    assert not experiment.jobs()


@pytest.mark.slow
def test_a_plan_that_changes_in_its_networks_only(experiment):
    """More GPU memory, larger batches; the prepared cases are the same."""
    experiment.configure(**BASE | {"planning": {**BASE["planning"], "gpu_memory_gb": 7}})
    jobs = set(experiment.jobs())
    assert jobs - since("train") == {"plan"}


def edit_plan(experiment: Experiment, **changes: dict[str, object]) -> None:
    """Write edited.json: the planner's plan with other or further configurations."""
    data = json.loads((experiment.shared / "plans" / "nnUNetPlans" / "plans.json").read_text())
    for name, entry in changes.items():
        data["configurations"][name] = data["configurations"].get(name, {}) | entry
    (experiment.folder / "edited.json").write_text(json.dumps(data))
    experiment.configure(folds=BASE["folds"], plan="edited.json")


@pytest.mark.slow
def test_an_edited_plan(experiment):
    before = stored(experiment)
    edit_plan(experiment)
    assert experiment.jobs() == {"plan": 1}

    edit_plan(experiment, **{"2d_small": {"inherits_from": "2d", "batch_size": 2}})
    jobs = experiment.jobs()
    assert set(jobs) == {"plan"} | since("train")
    assert (jobs["train"], jobs["predict_fold"], jobs["ensemble"], jobs["evaluate"]) == (1, 1, 2, 3)
    card = json.loads((experiment.results / "models" / "2d_small" / "fold_0" / "card.json").read_text())
    assert (card["configuration"]["name"], card["configuration"]["batch_size"]) == ("2d_small", 2)
    names = [c["name"] for c in json.loads((experiment.results / "selection.json").read_text())["candidates"]]
    assert names == ["2d", "3d_fullres", "2d_small", "2d+3d_fullres", "2d+2d_small", "3d_fullres+2d_small"]
    assert not experiment.jobs()

    edit_plan(experiment, **{"2d": {"batch_size": 17}})
    jobs = experiment.jobs()
    assert (jobs["plan"], jobs["train"], jobs["predict_fold"]) == (1, 1, 1)
    assert stored(experiment) == before
    os.utime(experiment.folder / "edited.json")
    assert not experiment.jobs()


def image_of(experiment: Experiment, case: str) -> Path:
    return experiment.dataset / "imagesTr" / f"{case}_0000.nii.gz"


def label_of(experiment: Experiment, case: str) -> Path:
    return experiment.dataset / "labelsTr" / f"{case}.nii.gz"


def rewrite(file: Path, change: Callable[[sitk.Image], sitk.Image]) -> None:
    sitk.WriteImage(change(sitk.ReadImage(str(file))), str(file))


@pytest.mark.slow
def test_raw_files_touched(experiment):
    for file in (experiment.dataset / "imagesTr").iterdir():
        os.utime(file)
    os.utime(experiment.dataset / "dataset.json")
    assert not experiment.jobs()


@pytest.mark.slow
def test_a_large_raw_file_touched(experiment, tmp_path):
    """Snakemake takes no digest of files over 1 MB; the check does, and what follows is left alone."""
    with image_of(experiment, "phantom_000").open("ab") as file:
        file.write(bytes(1 << 20))  # zeros after the end of a gzip file are padding
    experiment.finish()
    os.utime(image_of(experiment, "phantom_000"))
    assert experiment.jobs() == {"check": 1}
    assert not experiment.jobs()


@pytest.mark.slow
def test_a_description_that_concerns_nobody(experiment):
    file = experiment.dataset / "dataset.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"licence": "CC-BY"}))
    assert not experiment.jobs()


def stored(experiment: Experiment) -> dict[str, int]:
    """When each prepared case was written."""
    files = experiment.shared.glob("preprocessed/*/*/*_image.npy")
    return {str(file.relative_to(experiment.shared)): file.stat().st_mtime_ns for file in files}


def rewritten(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """Cases whose prepared files are new."""
    names = {name for name, written in after.items() if before.get(name) != written}
    return {match[0] for name in names if (match := re.search(r"phantom_\d+", name))}


@pytest.mark.slow
def test_an_image_changed(experiment):
    before = stored(experiment)
    rewrite(image_of(experiment, "phantom_001"), lambda image: sitk.ShiftScale(image, 0.0, 1.5))
    jobs = experiment.jobs()
    assert set(jobs) == since("train") | {"check", "fingerprint", "plan", "preprocess", "prepared"}
    assert (jobs["check"], jobs["preprocess"]) == (1, 2)
    assert rewritten(before, stored(experiment)) == {"phantom_001"}


@pytest.mark.slow
def test_a_label_fixed(experiment):
    before = stored(experiment)
    rewrite(label_of(experiment, "phantom_002"), lambda label: sitk.BinaryThreshold(label, 1, 1, 1, 0))
    jobs = experiment.jobs()
    assert set(jobs) == since("train") | {"check", "fingerprint", "plan", "preprocess", "prepared"}
    assert (jobs["check"], jobs["preprocess"]) == (1, 2)
    assert rewritten(before, stored(experiment)) == {"phantom_002"}


def declare(experiment: Experiment, n_cases: int) -> None:
    file = experiment.dataset / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"numTraining": n_cases}))


@pytest.mark.slow
def test_a_case_added_and_removed(experiment):
    before = stored(experiment)
    shutil.copy(image_of(experiment, "phantom_000"), image_of(experiment, "phantom_100"))
    shutil.copy(label_of(experiment, "phantom_000"), label_of(experiment, "phantom_100"))
    declare(experiment, 7)
    jobs = experiment.jobs()
    assert set(jobs) - set(ORDER) == set(DATA)
    assert (jobs["check"], jobs["preprocess"]) == (1, 2)
    assert rewritten(before, stored(experiment)) == {"phantom_100"}

    image_of(experiment, "phantom_100").unlink()
    label_of(experiment, "phantom_100").unlink()
    declare(experiment, 6)
    jobs = experiment.jobs()
    assert set(jobs) - set(ORDER) == set(DATA)
    assert (jobs["check"], jobs["preprocess"]) == (1, 2)
    assert not experiment.jobs()


@pytest.mark.slow
def test_a_raw_file_that_changes_during_the_call(experiment):
    """What is read early must not look younger than it is at the end of a long call."""
    experiment.configure(**BASE | {"seed": 1})
    with experiment.start("--quiet", "all") as process:
        logs = experiment.results / "logs" / "train"
        since = {log: log.stat().st_mtime_ns for log in logs.glob("*.log")}
        while process.poll() is None and all(
            log.exists() and log.stat().st_mtime_ns == since[log] for log in since
        ):
            time.sleep(0.02)
        rewrite(label_of(experiment, "phantom_002"), lambda label: sitk.BinaryThreshold(label, 1, 1, 1, 0))
        process.communicate(timeout=300)
        assert process.returncode == 0
    assert {"check", "preprocess", "train"} <= set(experiment.jobs())


@pytest.mark.slow
def test_results_too_large_for_a_digest(experiment):
    """Of files over 1 MB, such as weights, only the age is known."""
    assert not experiment.jobs("--dry-run", "--max-checksum-file-size", "1")
    experiment.configure(**BASE, inference={"mirroring": False, "step": 0.6})
    experiment.finish()
    assert not experiment.jobs("--dry-run", "--max-checksum-file-size", "1")


# Losing what Snakemake remembers.


@pytest.mark.slow
def test_snakemakes_folder_deleted(experiment):
    shutil.rmtree(experiment.folder / ".snakemake")
    assert not experiment.jobs()
    shutil.rmtree(experiment.folder / ".snakemake")
    experiment.configure(**BASE, inference={"mirroring": False, "step": 0.6})
    assert set(experiment.jobs("--dry-run")) == since("predict_fold")


# Nothing stale survives.


@pytest.mark.slow
def test_a_failed_rerun_is_made_up_for(experiment):
    """A training that fails takes its old weights away; asked for less, the next call must not call that finished."""
    experiment.configure(**BASE, training={**TINY["training"], "learning_rate": 1e30})
    assert experiment.run().returncode != 0
    experiment.configure(**BASE)
    assert {"train", "predict_fold"} <= set(experiment.jobs("--dry-run"))


def test_why(experiment, capfd, monkeypatch):
    experiment.configure(**BASE, inference={"mirroring": False, "step": 0.6})
    monkeypatch.chdir(experiment.folder)
    assert main(["why", *experiment.command()[3:]]) == 0
    said = re.sub(r"[\s│]+", " ", capfd.readouterr().out)
    assert "predict fold 2 inference.step: 0.5 → 0.6" in said
    assert "ensemble 1 what it reads is made again" in said
