"""The workflow under Snakemake's own tools: lint, report, use as a module, software environments."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from snakemake_calls import call_snakemake
from workflow_runs import REPOSITORY, STARTED, Experiment

from segflow.commands.main import COMMANDS
from segflow.contracts.artefacts import Provenance
from segflow.storage.files import digest_of
from segflow.workflow.code import closure

pytestmark = pytest.mark.workflow

LAUNCHER = REPOSITORY / "workflow" / "bin"

MODULE = """
module segflow:
    snakefile: "{snakefile}"
    {config}

use rule * from segflow as segflow_*

rule everything:
    default_target: True
    input: "mine.txt"

rule mine:
    input: rules.segflow_all.input
    output: "mine.txt"
    shell: "echo {{input}} > {{output}}"

onsuccess:
    segflow.settle()
"""

#: The part of conda that Snakemake calls. The Python of its environments records its arguments.
CONDA = """#!/bin/sh
base=$(CDPATH='' cd -- "${0%/*}/.." && pwd)
case "$*" in
"info --json") echo "{\\"conda_prefix\\": \\"$base\\", \\"platform\\": \\"linux-64\\"}" ;;
--version) echo "conda 25.1.0" ;;
config*) echo '{"get": {"channel_priority": "strict"}}' ;;
*create*)
    while [ "$1" != --prefix ]; do shift; done
    mkdir -p "$2/bin"
    printf '#!/bin/sh\\necho "$@" >> "%s/calls"\\nexec "%s" "$@"\\n' "$base" "$PYTHON_OF_TEST" > "$2/bin/python"
    chmod +x "$2/bin/python" ;;
esac
"""


def test_lint(finished):
    assert "your workflow is in a good condition" in finished.finish("--lint")


@pytest.mark.slow
def test_report(finished, tmp_path):
    nowhere = "http://127.0.0.1:9"
    file = tmp_path / "report.html"
    finished.finish("--report", str(file), http_proxy=nowhere, https_proxy=nowhere)
    page = file.read_text()
    assert 'src="http' not in page
    assert "The whole experiment with recipe nnunet on data on one page" in page
    assert "One row per data set and recipe" in page
    table = (finished.output / "comparison.csv").read_bytes()
    assert base64.b64encode(table).decode() in page


def test_every_job_leaves_its_provenance(finished_once):
    """Every job has a benchmark, so there is one provenance file for each of these."""
    files = sorted(finished_once.output.rglob("*.provenance"))
    assert len(files) == len(list(finished_once.output.glob("**/benchmarks/**/*.tsv")))
    for file in files:
        assert file.with_suffix("").exists()
        made = Provenance.model_validate_json(file.read_text())
        program, verb = made.command[:2]
        assert program == "segflow"
        assert made.code == closure(f"segflow.commands.{COMMANDS[verb]}")
        assert made.inputs, file
        for name, digest in made.inputs.items():
            assert digest_of(finished_once.folder / name) == digest, f"{file}: {name}"
        assert {"segflow", "python", "numpy", "torch"} <= made.versions.keys()
        assert made.device == "cpu"
        assert made.started <= made.finished


@pytest.mark.parametrize("name", ["selection.json", "final/manifest.json", "model/model.json", "report.html"])
@pytest.mark.slow
def test_a_single_result_is_asked_for_at_once(finished, name):
    """Before the plan is there, that is, and so before it is known what the result is made from."""
    shutil.rmtree(finished.output)
    assert finished.jobs("--dry-run", f"results/data/nnunet/{name}")["select"] == 1


# Use from another workflow.


def call(folder: Path, *options: str) -> str:
    """A call without segflow's profile."""
    environment = Experiment(folder).environment()
    done = call_snakemake(["--cores", "2", *options], folder, environment)
    assert done.returncode == 0, done.stdout
    return done.stdout


def importing(finished: Experiment, config: str) -> Path:
    """The folder of another workflow, with the data set in `data`."""
    shutil.rmtree(finished.output)
    text = MODULE.format(snakefile=REPOSITORY / "Snakefile", config=config)
    (finished.folder / "Snakefile").write_text(text)
    return finished.folder


@pytest.mark.slow
def test_targets(experiment):
    """Each makes what its name says, and no more."""
    experiment.configure(folds=[0], forecast=True)
    rules = {}
    for target in ("plans", "prepared"):
        rules[target] = set(experiment.jobs("--nocolor", target)) - {target}
    for target in ("models", "predictions", "package", "report"):
        rules[target] = set(experiment.jobs("--dry-run", target)) - {target}
    scored = {"train", "predict_fold", "ensemble", "evaluate", "crossvalidate"}
    packed = scored | {"select", "postprocess_search", "make_package"}
    assert rules == {
        "plans": {"check", "fingerprint", "plan", "forecast"},
        "prepared": {"preprocess", "manifest"},
        "models": {"folds", "train"},
        "predictions": {"folds"} | scored,
        "package": {"folds"} | packed,
        "report": {"folds", "postprocess", "evaluate_final", "assess", "score_fast", "make_report"} | packed,
    }
    assert (experiment.shared / "plans/nnUNetPlans/plans.json").exists()
    assert len([*experiment.shared.glob("preprocessed/nnUNetPlans/*/prepared.json")]) == 2
    made = json.loads((experiment.results / "forecast.json").read_text())
    assert (made["folds"], [one["configuration"] for one in made["networks"]]) == (
        ["0"],
        ["2d", "3d_fullres"],
    )
    assert all((one["epochs"], one["iterations"]) == (2, 2) for one in made["networks"])


@pytest.mark.slow
def test_used_as_a_module(finished):
    """The data set and the output suffice; everything else has its default."""
    folder = importing(finished, 'config: {"dataset": "data", "output": "segmentation"}')
    planned = STARTED.findall(call(folder, "--dry-run"))
    assert planned == ["segflow_check", "segflow_fingerprint", "segflow_plan", "mine", "everything"]

    plan = "segmentation/data/plans/nnUNetPlans/plans.json"
    call(folder, plan)
    assert json.loads((folder / plan).read_text())["configurations"].keys() >= {"2d", "3d_fullres"}
    assert (folder / "segmentation" / "records").is_dir()
    planned = STARTED.findall(call(folder, "--dry-run"))
    assert {"segflow_preprocess", "segflow_train", "segflow_make_report", "segflow_compare", "mine"} <= {
        *planned
    }
    assert not {"segflow_check", "segflow_plan"} & {*planned}
    assert planned.count("segflow_train") == 10


@pytest.mark.slow
def test_used_as_a_module_with_segflows_own_configuration(finished):
    """Which is found beside segflow, not beside the importing workflow."""
    assert "results/data/check/chunk_0.json" in call(
        importing(finished, ""), "--dry-run", "--config", "dataset=data"
    )


# Software environments.


def test_launcher(tmp_path):
    """It runs its checkout's code with the first Python on the PATH, wherever it is called and whatever lies there."""
    (tmp_path / "segflow").mkdir()
    (tmp_path / "segflow" / "__init__.py").touch()
    for folder in (str(LAUNCHER), os.path.relpath(LAUNCHER, tmp_path)):
        path = {"PATH": f"{folder}{os.pathsep}{Path(sys.executable).parent}"}
        words = ["/bin/sh", "-c", "segflow --version"]
        done = subprocess.run(words, env=path, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout.startswith("segflow "), done.stderr


@pytest.mark.slow
def test_a_conda_environment_runs_this_checkouts_code(experiment, tmp_path):
    """With a stand-in for conda: which Python a job gets, not whether the packages can be had."""
    (tmp_path / "bin").mkdir()
    conda = tmp_path / "bin" / "conda"
    conda.write_text(CONDA)
    conda.chmod(0o755)
    (tmp_path / "bin" / "activate").write_text('PATH="$1/bin:$PATH"\n')
    path = os.pathsep.join((str(tmp_path / "bin"), experiment.environment()["PATH"]))
    target = "results/data/splits_final.json"
    experiment.finish(target, "--sdm", "conda", PATH=path, PYTHON_OF_TEST=sys.executable)
    assert (tmp_path / "calls").read_text().startswith("-P -m segflow folds --job data")


def test_the_image_is_made_from_files_that_exist():
    """As much as can be said of it without a container runtime."""
    lines = (REPOSITORY / "envs" / "Dockerfile").read_text().splitlines()
    copied = [name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]]
    assert {"src", "Snakefile", "workflow", "constraints.txt"} <= set(copied)
    assert all((REPOSITORY / name).exists() for name in copied)
