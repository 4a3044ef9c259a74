"""Stages as the workflow calls them: what they leave, and what they do not do twice."""

from __future__ import annotations

import json
import shutil

import pytest
import SimpleITK as sitk
from stage_calls import call, cases_in, in_this_process, plan_words, preprocess_words, without

from segflow.commands import fingerprint, preprocess, raw_cases
from segflow.commands.main import main
from segflow.nnunet.parts import read_configuration, read_preparation
from segflow.nnunet.plans import read_plan


def test_parts_are_those_of_the_plan(planned):
    plan = read_plan(planned / "plans.json")
    for name, configuration in plan.configurations.items():
        assert read_configuration(planned / "network" / f"{name}.json") == configuration
        assert read_preparation(planned / "preparation" / f"{name}.json") == plan.preparation(name)


def test_chunks_of_the_check_are_the_whole(project):
    for chunk in range(4):
        output = project / f"check_{chunk}.json"
        call("check", project / "data", "--chunk", f"{chunk}/4", "--output", output, "--workers", 1)
    parts = [cases_in(project / f"check_{chunk}.json") for chunk in range(4)]
    found = sorted((case for part in parts for case in part), key=lambda case: case["identifier"])
    assert found == cases_in(project / "check.json")


@pytest.fixture
def seen(monkeypatch):
    """A function that gives the identifiers of the cases that a function of a verb's module works on."""
    monkeypatch.setattr(raw_cases, "map_cases", in_this_process)

    def by(module, name):
        found, original = [], getattr(module, name)
        spy = lambda case, *rest, **others: found.append(case.identifier) or original(case, *rest, **others)  # noqa: E731
        monkeypatch.setattr(module, name, spy)
        return found

    return by


@pytest.fixture
def prepared_cases(seen):
    """Those that are really prepared."""
    return seen(preprocess, "prepare_case")


@pytest.fixture
def cases_read(seen):
    """Those that the fingerprint really reads."""
    return seen(fingerprint, "read_case")


def fingerprint_words(folder):
    return ["fingerprint", folder / "data", "--output", folder / "fingerprint.json", "--workers", 1]


def add_case(folder, name, like):
    """One more case, brighter than the one it is like."""
    data = folder / "data"
    image = sitk.ReadImage(str(data / "imagesTr" / f"{like}_0000.nii.gz"))
    sitk.WriteImage(image * 2, str(data / "imagesTr" / f"{name}_0000.nii.gz"))
    shutil.copy(data / "labelsTr" / f"{like}.nii.gz", data / "labelsTr" / f"{name}.nii.gz")
    description = json.loads((data / "dataset.json").read_text())
    description["numTraining"] += 1
    (data / "dataset.json").write_text(json.dumps(description))


def test_the_fingerprint_reads_only_what_is_new(project, cases_read):
    before = (project / "fingerprint.json").read_text()
    call(*fingerprint_words(project))  # measured when the project was made
    assert cases_read == []
    assert (project / "fingerprint.json").read_text() == before

    add_case(project, "phantom_zzz", "phantom_000")
    call(*fingerprint_words(project))
    assert cases_read == ["phantom_zzz"]
    kept = (project / "fingerprint.json").read_text()
    assert len(json.loads(kept)["spacings"]) == 6
    shutil.rmtree(project / "fingerprint")
    call(*fingerprint_words(project))
    assert len(cases_read) == 7
    assert (
        project / "fingerprint.json"
    ).read_text() == kept  # the others were drawn from anew, with fewer draws


def test_the_fingerprint_reads_what_changed_or_was_damaged(project, cases_read):
    without(project / "data" / "labelsTr" / "phantom_001.nii.gz", 2)
    (project / "fingerprint" / "phantom_003.npy").write_bytes(b"PK")
    call(*fingerprint_words(project))
    assert cases_read == ["phantom_001", "phantom_003"]


def test_a_bad_case_is_named_and_the_others_are_measured(project, cases_read, capsys):
    shutil.rmtree(project / "fingerprint")
    (project / "fingerprint.json").unlink()
    bad = project / "data" / "imagesTr" / "phantom_001_0000.nii.gz"
    good = bad.read_bytes()
    bad.write_bytes(b"no image")
    assert main([str(word) for word in fingerprint_words(project)]) == 1
    assert capsys.readouterr().err.count("case phantom_") == 1
    assert not (project / "fingerprint.json").exists()
    bad.write_bytes(good)
    del cases_read[:]
    call(*fingerprint_words(project))
    assert cases_read == ["phantom_001"]


def test_a_case_that_is_gone_leaves_nothing(project, cases_read):
    add_case(project, "phantom_zzz", "phantom_000")
    call(*fingerprint_words(project))
    for file in ("imagesTr/phantom_zzz_0000.nii.gz", "labelsTr/phantom_zzz.nii.gz"):
        (project / "data" / file).unlink()
    description = json.loads((project / "data" / "dataset.json").read_text())
    (project / "data" / "dataset.json").write_text(json.dumps(description | {"numTraining": 5}))
    call(*fingerprint_words(project))
    assert sorted({file.stem for file in (project / "fingerprint").iterdir()}) == [
        f"phantom_00{number}" for number in range(5)
    ]


def ages(folder):
    return {file.name: file.stat().st_mtime_ns for file in folder.iterdir() if file.is_file()}


def test_one_more_case_touches_only_its_own_files(project, prepared_cases):
    planning = [*plan_words(project), "--parts", project, "--spacing", 2, 1.5, 1.5]  # not the cases' median
    call(*planning)
    call(*preprocess_words(project))
    before, part = ages(project / "2d"), (project / "preparation" / "2d.json").read_text()
    del prepared_cases[:]
    add_case(project, "phantom_zzz", "phantom_000")
    call(*fingerprint_words(project))
    call(*planning)
    assert (project / "preparation" / "2d.json").read_text() == part  # although the fingerprint is another
    call(*preprocess_words(project, check=False))
    assert prepared_cases == ["phantom_zzz"]
    after = ages(project / "2d")
    assert {name: after[name] for name in before} == before
    assert {name.removeprefix("phantom_zzz") for name in set(after) - set(before)} == {
        ".json", "_image.npy", "_labels.npy", "_voxels.npy",
    }  # fmt: skip


def test_a_plan_does_for_a_preparation(project, prepared_cases):
    call(*preprocess_words(project))
    first = cases_in(project / "2d" / "manifest" / "chunk_0.json")
    again = ["preprocess", project / "data", "--plan", project / "plans.json", "--output", project / "all"]
    del prepared_cases[:]
    call(*again, "--configuration", "2d", "--workers", 1)
    assert cases_in(project / "all" / "2d" / "manifest" / "chunk_0.json") == first
    assert not (project / "all" / "3d_fullres").exists()
    call(*again, "--workers", 1)  # all configurations: 2d is there, so only the other is made
    assert len(cases_in(project / "all" / "3d_fullres" / "manifest" / "chunk_0.json")) == 5
    assert len(prepared_cases) == 10


def test_a_raw_case_is_read_once_for_all_configurations(project, seen):
    read = seen(preprocess, "read_case")
    call("preprocess", project / "data", "--plan", project / "plans.json", "--output", project / "all")
    assert len(read) == 5
    assert {folder.name for folder in (project / "all").iterdir()} == {"2d", "3d_fullres"}


def test_configurations_that_are_prepared_alike_are_prepared_once(project, capsys):
    plan = json.loads((project / "plans.json").read_text())
    plan["configurations"]["small"] = {"inherits_from": "2d", "batch_size": 2}
    (project / "plans.json").write_text(json.dumps(plan))
    words = ["--plan", project / "plans.json", "--configuration", "2d", "small", "--output", project / "all"]
    call("preprocess", project / "data", *words, "--workers", 1)
    assert [folder.name for folder in (project / "all").iterdir()] == ["2d"]
    assert "small is prepared as 2d is, and reads its cases" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--configuration", "2d"], "preprocess needs --plan (and maybe --configuration), or --preparation"),
        (["--plan", "plans.json", "--manifest", "m.json"], "or --preparation (and maybe --manifest)"),
        (
            ["--plan", "plans.json", "--configuration", "3d"],
            "has no configuration '3d'; it has 2d, 3d_fullres",
        ),
        (["--plan", "none.json", "--configuration", "2d"], "none.json does not exist"),
    ],
)
def test_what_preprocess_needs(words, said, project, refused, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.setenv("COLUMNS", "300")
    assert said in refused("preprocess", "data", "--output", "out", *words)
    assert not (project / "out").exists()


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


def test_a_bad_case_does_not_stop_the_others_nor_is_their_work_lost(project, prepared_cases, refused):
    bad = project / "data" / "imagesTr" / "phantom_001_0000.nii.gz"
    good = bad.read_bytes()
    bad.write_bytes(b"no image")
    assert "phantom_001" in refused(*preprocess_words(project, check=False))
    assert not (project / "2d" / "manifest").exists()
    bad.write_bytes(good)
    del prepared_cases[:]
    call(*preprocess_words(project, check=False))
    assert prepared_cases == ["phantom_001"]
