"""The whole workflow in one call: the configuration that is written, and how Snakemake is called."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from stage_calls import call

from segflow.commands import run as module
from segflow.commands.main import main
from segflow.workflow import location


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder with the data set's description, and nothing else; the present folder is above it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    description = {"channel_names": {"0": "x"}, "labels": {"background": 0, "a": 1}, "file_ending": ".png"}
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(description))
    return tmp_path / "data"


@pytest.fixture
def calls(monkeypatch):
    """The words of each call of Snakemake, which is not made."""
    found = []
    monkeypatch.setattr(module, "_call", lambda command: found.append(command[3:]) or 0)
    monkeypatch.setattr(module, "_gpus_here", lambda: 2)
    return found


def test_the_configuration_that_the_call_stands_for(data, calls):
    call(
        "run", "data", "training.iterations=100", "training.batch_size={2d: 2}", "ensembles=false", "--output", "out",
        "--recipe", "swift", "--epochs", 5, "--configurations", "2d", "3d_fullres", "--folds", 0, 1, "--seed", 3,
    )  # fmt: skip
    text = (data.parent / "out" / "run.yaml").read_text()
    assert yaml.safe_load(text) == {
        "dataset": "data", "output": "out", "recipe": "swift", "configurations": ["2d", "3d_fullres"], "folds": [0, 1],
        "seed": 3, "training": {"epochs": 5, "iterations": 100, "batch_size": {"2d": 2}}, "ensembles": False,
    }  # fmt: skip
    (words,) = calls
    assert text.splitlines()[0].endswith(f"snakemake {' '.join(words)}")
    assert words[words.index("--configfile") + 1] == "out/run.yaml"
    assert words[words.index("--cores") :] == ["--cores", "all", "--resources", "gpu=2"]


def test_a_configuration_file_that_options_and_words_change(data, calls):
    file = data.parent / "my.yaml"
    file.write_text(
        "datasets: [data, other]\noutput: out\nseed: 1\ntraining: {epochs: 9, momentum: 0.9}\ninference:\n"
    )
    call("run", "data", "--configfile", file, "inference.step=0.25", "--epochs", 5, "--seed", 3)
    assert yaml.safe_load((data.parent / "out" / "run.yaml").read_text()) == {
        "dataset": "data", "output": "out", "seed": 3, "training": {"epochs": 5, "momentum": 0.9},
        "inference": {"step": 0.25},
    }  # fmt: skip
    file.write_text("recipes: [nnunet, resenc]\n")
    call("run", "data", "--configfile", file, "--recipe", "swift")
    assert yaml.safe_load((data.parent / "results" / "run.yaml").read_text()) == {
        "output": "results", "dataset": "data", "recipe": "swift",
    }  # fmt: skip
    file.write_text("dataset: data\n")
    call("run", "--configfile", file)
    assert yaml.safe_load((data.parent / "results" / "run.yaml").read_text()) == {
        "output": "results", "dataset": "data",
    }  # fmt: skip


def test_keys_may_follow_an_option_that_takes_several_words(data, calls):
    call("run", "data", "--folds", 0, 1, "seed=3", "--configurations", "2d", "training.epochs=7")
    assert yaml.safe_load((data.parent / "results" / "run.yaml").read_text()) == {
        "output": "results", "dataset": "data", "folds": [0, 1], "configurations": ["2d"], "seed": 3,
        "training": {"epochs": 7},
    }  # fmt: skip


@pytest.mark.parametrize(("device", "end"), [("auto", ["--resources", "gpu=0"]), ("cuda", ["all"])])
def test_a_gpu_that_must_be_used_and_is_missing_is_asked_for(data, calls, monkeypatch, device, end):
    """The profile asks for one, and the job says that there is none."""
    monkeypatch.setattr(module, "_gpus_here", lambda: 0)
    call("run", "data", f"device={device}")
    assert calls[0][-len(end) :] == end


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--gpus", 0, "--cores", 4], ["--cores", "4", "--resources", "gpu=0"]),
        (["--profile", "site"], ["--workflow-profile", "site"]),
        (["--profile", "slurm"], ["--workflow-profile", str(location.location("slurm"))]),
        (["--profile", "site", "--gpus", 8], ["--workflow-profile", "site", "--resources", "gpu=8"]),
        (["--dry-run"], ["gpu=2", "--dry-run"]),
        (["--folds", "all"], ["gpu=2"]),
    ],
)
def test_where_it_runs(data, calls, options, expected):
    call("run", data / "dataset.json", *options)
    assert calls[0][-len(expected) :] == expected


def test_a_dry_run_leaves_no_configuration_behind(data, calls):
    call("run", "data", "--dry-run")
    assert not (data.parent / "results").exists()
    assert not Path(calls[0][calls[0].index("--configfile") + 1]).exists()


@pytest.mark.parametrize("pattern", ["[0-9]+", r"\d+", "12", "[0-9]", "(?P<a>{)"])
def test_a_pattern_is_taken_as_it_stands(data, calls, pattern):
    call("run", "data", f"patients={pattern}")
    assert yaml.safe_load((data.parent / "results" / "run.yaml").read_text())["patients"] == pattern


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["epochs=5"], "unknown key 'epochs': did you mean 'training.epochs'?"),
        (["training.epohs=5"], "unknown key 'training.epohs': did you mean 'epochs'?"),
        (["training"], "'training' is not of the form KEY=VALUE or SECTION.KEY=VALUE"),
        (["=5"], "'=5' is not of the form"),
        (["training.=5"], "'training.=5' is not of the form"),
        (["folds=[0"], "'[0' is not a value in YAML"),
        (["seed=1", "seed.x=1"], "'seed.x=1': 'seed' has no keys"),
        (["--recipe", "swft"], "there is no recipe 'swft'"),
        (["--folds", "first"], "folds"),
    ],
)
def test_what_is_not_allowed_is_said_before_anything_is_written(data, calls, refused, words, message):
    assert message in refused("run", "data", *words)
    assert calls == []
    assert not (data.parent / "results").exists()


def test_the_configuration_of_a_call_that_is_at_work_stays(data, calls, refused):
    call("run", "data", "seed=1")
    with Path("results", "segflow.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another call is at work in results" in refused("run", "data", "seed=2")
    assert yaml.safe_load((data.parent / "results" / "run.yaml").read_text())["seed"] == 1


@pytest.mark.parametrize("status", [1, 130])
def test_the_workflow_has_said_how_it_ends(data, calls, monkeypatch, capsys, status):
    monkeypatch.setattr(module, "_call", lambda command: status)
    with pytest.raises(SystemExit, match=f"^{status}$"):
        main(["run", "data"])
    assert capsys.readouterr().err == "configuration: results/run.yaml\n"


def test_without_a_data_set(calls, refused):
    assert "name a data set: segflow run FOLDER" in refused("run")


def test_where_a_configuration_is_no_yaml(tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text("dataset: data\ntraining: {epochs: 2\nfolds: [0]\n")
    for words in (
        ["why", "--configfile", "my.yaml", "--directory", "nowhere"],
        ["run", "--configfile", "my.yaml"],
    ):
        assert "segflow: my.yaml, line 3, column 6: not YAML: expected ',' or '}'" in refused(*words)


@pytest.mark.parametrize("text", ["a list\n", "seed: 2026-99-99\n", "x: \x00\n"])
def test_a_configuration_file_that_cannot_be_understood(tmp_path, capsys, text):
    (tmp_path / "my.yaml").write_text(text)
    assert main(["run", "--configfile", str(tmp_path / "my.yaml")]) == 1
    assert re.search(
        r"segflow: \S+my.yaml(, line 1, column 4: not|: not| must contain keys)", capsys.readouterr().err
    )


def test_where_the_files_are(capsys):
    call("where")
    call("where", "config")
    call("where", "recipes")
    snakefile, config, recipes = capsys.readouterr().out.splitlines()
    assert snakefile.endswith("Snakefile")
    assert "dataset" in yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    assert Path(recipes, "swift.yaml").is_file()


@pytest.mark.slow
def test_an_installed_package_does_what_a_checkout_does(tmp_path, repository):
    """Of a copy of the checkout, as building leaves files behind."""
    source = tmp_path / "source"
    shutil.copytree(
        repository,
        source,
        symlinks=True,
        ignore=shutil.ignore_patterns(".*", "demo", "build", "tests", "results"),
    )
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*pip, tmp_path / "site", source], check=True)
    shutil.rmtree(source)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    segflow = [sys.executable, "-P", "-m", "segflow"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    tiny = ["training.iterations=2", "training.validation_iterations=1", "training.base_width=4"]
    once = ["--epochs", "1", "--configurations", "2d", "--folds", "0", "--gpus", "0", "--cores", "2"]
    for words in (
        ["phantom", "data", "--cases", "5", "--seed", "0"],
        ["run", "data", *tiny, "training.batch_size={2d: 2}", *once],
        ["predict", "-m", "results/data/nnunet", "-i", "data/imagesTr", "-o", "labels"],
        [
            "predict",
            "-m",
            "results/data/nnunet",
            "-i",
            "data/imagesTr/phantom_000_0000.nii.gz",
            "-o",
            "seg.nii.gz",
            "--fast",
            "--statistics",
            "--preview",
        ],
    ):
        subprocess.run([*segflow, *words], cwd=elsewhere, env=environment, check=True)
    assert (elsewhere / "results" / "data" / "nnunet" / "report.html").exists()
    assert len(list((elsewhere / "labels").glob("*.nii.gz"))) == 5
    assert len(list(elsewhere.glob("seg.*"))) == 5
    used = (elsewhere / "results" / "data" / "nnunet" / "model.provenance").read_text()
    assert str(repository) not in used
