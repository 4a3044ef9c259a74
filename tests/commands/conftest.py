"""A small data set that stages have worked on, and calls that must fail."""

from __future__ import annotations

import pickle
import shutil

import pytest
from score_calls import read, write_like
from stage_calls import call, cases_in, plan_words, prepare, without

from segflow.commands.main import main
from segflow.processes import pool
from segflow.storage.manifests import read_prepared


@pytest.fixture(autouse=True)
def sendable(monkeypatch):
    """Forked processes find their work; elsewhere, as on macOS, it is sent to them, so that must be possible."""
    begin = pool._Queue.__init__

    def checked(queue, work, cases, *rest):
        assert pickle.dumps((work, cases))
        begin(queue, work, cases, *rest)

    monkeypatch.setattr(pool._Queue, "__init__", checked)


@pytest.fixture
def refused(capsys):
    """A function that makes a call that must fail as its user's fault, and gives what it says, in one line."""

    def call_in_vain(*words):
        capsys.readouterr()
        assert main([str(word) for word in words]) == 1
        return " ".join(capsys.readouterr().err.split())

    return call_in_vain


@pytest.fixture(scope="session")
def planned(tmp_path_factory):
    """Five phantom cases, checked and planned."""
    folder = tmp_path_factory.mktemp("planned")
    data = folder / "data"
    call("phantom", data, "--cases", 5)
    call("check", data, "--output", folder / "check.json", "--workers", 1)
    call("fingerprint", data, "--output", folder / "fingerprint.json", "--workers", 1)
    call("folds", data, "--output", folder / "folds.json")
    call(*plan_words(folder), "--parts", folder)
    return folder


@pytest.fixture
def project(planned, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(planned, tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def ready(project):
    """Prepared for 2d."""
    manifest = prepare(project, "2d")
    assert read_prepared(project / "2d" / "prepared.json") == cases_in(manifest)
    return project


@pytest.fixture
def folder(project):
    """With label maps to score: the truth, but for a far speck in one case, a missing class and an empty map."""
    predictions = project / "predictions"
    shutil.copytree(project / "data" / "labelsTr", predictions)
    speck = read(predictions / "phantom_000.nii.gz")
    speck[0, 0, :2] = 1
    write_like(predictions / "phantom_000.nii.gz", speck)
    without(predictions / "phantom_001.nii.gz", 2)
    for number in (2, 3):  # class 2 is nowhere in case 2
        without(project / "data" / "labelsTr" / "phantom_002.nii.gz", 2)
        without(predictions / f"phantom_00{number}.nii.gz", 2)
    without(predictions / "phantom_003.nii.gz", 1)
    return project
