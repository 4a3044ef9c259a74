"""What the workflow takes from Snakemake beyond its documented interface: its own part, and each assumption by name."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from segflow.contracts.errors import ConfigurationError
from segflow.workflow import snakemake
from segflow.workflow.snakemake import PlannedJobs, planned_jobs

# The assumptions, on a workflow that has nothing to do with images.

SNAKEFILE = """
import json
from pathlib import Path
from segflow.workflow.snakemake import granted, recover_records, settle

if workflow.is_main_process:
    recover_records(Path("results"))

VALUE = config["value"]
NAMES = ["setting", "derived", "code", "updated", "set_of_inputs", "a" * 200]

def derived(wildcards, resources):
    return VALUE

rule all:
    input: expand("results/{name}", name=NAMES[:-1] + ["later"][:int(VALUE) - 1]), "results/" + NAMES[-1]

rule setting:
    output: "results/setting"
    params: f"own.module@{VALUE}", settings=["a=1", f"b={VALUE}"]
    benchmark: "results/benchmark"
    shell: "touch {output}"

rule derived:
    output: "results/derived"
    params: x=derived
    shell: "echo {params.x} > {output}"

rule code:
    output: "results/code"
    shell: f"echo {VALUE} > {{output}}"

rule updated:
    input: "raw"
    output: "results/updated"
    shell: "touch {output}"

rule set_of_inputs:
    input: ["other", "third"][:int(VALUE)]
    output: "results/set_of_inputs"
    shell: "touch {output}"

checkpoint later:
    input: ancient("other"), "results/setting"
    output: "results/later"
    shell: "touch {output}"

rule long:
    output: "results/" + "a" * 200
    shell: "touch {output}"

onsuccess:
    jobs = {}
    for job in workflow.dag.jobs:
        ancient = {str(file): bool(file.is_ancient) for file in job.input}
        jobs[job.rule.name] = [[str(file) for file in job.output], ancient, str(job.benchmark)]
    methods = [method.name for method in workflow.deployment_settings.deployment_method]
    limits = {name: granted(workflow, name) for name in ("gpu", "_cores", "nothing")}
    Path("facts.json").write_text(json.dumps({"jobs": jobs, "methods": methods, "limits": limits}))
    settle(workflow, Path("results"))
"""


CHANGED = ["--config", "value=2", "--dry-run", "--quiet", "host", "progress"]


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", "--cores", "2", "--resources", "gpu=3", *options]


def run(folder: Path, *options: str) -> str:
    done = subprocess.run(command(*options), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def reasons_in(folder: Path) -> dict[str, str]:
    return {job.rule: job.reason for job in planned_jobs(run(folder, *CHANGED))}


def lay_out(folder: Path) -> Path:
    for name, content in (("Snakefile", SNAKEFILE), ("raw", "1"), ("other", ""), ("third", "")):
        (folder / name).write_text(content)
    return folder


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    """The folder of the workflow above after one run."""
    folder = lay_out(tmp_path_factory.mktemp("toy"))
    run(folder, "--config", "value=1", "--sdm", "apptainer")
    return folder


@pytest.fixture(scope="module")
def facts(toy) -> dict:
    return json.loads((toy / "facts.json").read_text())


@pytest.fixture(scope="module")
def reasons(toy) -> dict[str, str]:
    """Of a dry run after changes of each kind."""
    (toy / "raw").write_text("2")
    return reasons_in(toy)


@pytest.mark.workflow
class TestAssumptions:
    def test_assumption_jobs_of_the_dag_have_inputs_outputs_and_a_benchmark(self, facts):
        assert facts["jobs"]["setting"] == [["results/setting"], {}, "results/benchmark"]
        assert facts["jobs"]["updated"] == [["results/updated"], {"raw": False}, "None"]

    def test_assumption_limits_are_the_global_resources(self, facts):
        assert facts["limits"] == {"gpu": 3, "_cores": 2, "nothing": None}

    def test_assumption_deployment_methods_have_names(self, facts):
        assert facts["methods"] == ["APPTAINER"]

    def test_assumption_records_are_base64_named_files(self, toy):
        records = toy / ".snakemake" / "metadata"
        files = [file.relative_to(records) for file in records.rglob("*") if file.is_file()]
        assert {"results/setting", f"results/{'a' * 200}"} <= {
            str(snakemake._result_of(file)) for file in files
        }

    def test_assumption_a_dry_run_gives_reasons_as_text(self, reasons):
        assert reasons == {
            "setting": "code changed: own.module; b: 1 → 2",
            "code": "its rule was changed",
            "updated": "changed: raw",
            "set_of_inputs": "files, cases, folds or configurations were added, removed or moved",
            "later": "not made yet",
        }

    def test_assumption_parameters_that_depend_on_resources_are_not_recorded(self, reasons):
        assert "derived" not in reasons

    def test_assumption_records_that_are_given_back_serve_as_before(self, toy, reasons, tmp_path):
        copy = shutil.copytree(toy, tmp_path / "copy")
        shutil.rmtree(copy / ".snakemake")
        assert reasons_in(copy) == reasons


# The lock.

HOLD = """
import sys
from pathlib import Path
from segflow.workflow.snakemake import hold_results
locks = hold_results(Path(sys.argv[1]))
print("held", flush=True)
input()
"""


@pytest.mark.parametrize(
    ("folder", "results", "words"),
    [
        (".", "other", "at work in this folder (process"),
        ("elsewhere", "../results", "at work in ../results (process"),
        ("elsewhere", "link", "at work in link (process"),
    ],
)
def test_a_second_call_in_a_folder_or_on_results_is_refused(folder, results, words, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to(tmp_path / "results")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD, "results"], cwd=tmp_path, **pipes) as first:
        assert first.stdout.readline() == b"held\n"
        monkeypatch.chdir(tmp_path / folder)
        with pytest.raises(ConfigurationError, match=re.escape(words)):
            snakemake.hold_results(Path(results))
        first.kill()
    for lock in snakemake.hold_results(Path(results)):
        lock.release()


def test_a_lock_that_is_a_link_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "segflow.lock").symlink_to("precious")
    with pytest.raises(ConfigurationError, match=r"results/segflow\.lock cannot be used as a lock"):
        snakemake.hold_results(Path("results"))
    assert not (tmp_path / "precious").exists()


# Records.


LONG = f"{'very/long/name/' * 30}model.pt"


def record(result: str, ended: object, *inputs: str) -> None:
    """A record as Snakemake names it; long names are broken into folders."""
    name = base64.urlsafe_b64encode(result.encode()).decode()
    parts = [name[start : start + 254] for start in range(0, len(name), 254)]
    file = Path(".snakemake", "metadata", *(f"@{part}" for part in parts[:-1]), parts[-1])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"endtime": ended, "input": inputs}) if ended != "unfinished" else "{")


def contents(folder: str) -> dict[str, str]:
    files = [file for file in Path(folder).rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_text() for file in files}


def test_records_are_kept_beside_the_results_and_recovered_if_there_are_none_of_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = Path("results")
    snakemake.recover_records(results)
    assert not list(tmp_path.iterdir())

    record("results/a.json", 1, "raw.nii")
    record(f"results/{LONG}", 1, "results/a.json")
    own = contents(".snakemake/metadata")
    record("elsewhere/b.json", 1)
    record("results/b.json", "unfinished")  # such as a record that is being written
    snakemake.keep_records(results)
    shutil.rmtree(".snakemake")
    record("elsewhere/b.json", 2)
    others = contents(".snakemake/metadata")
    snakemake.recover_records(results)
    assert contents(".snakemake/metadata") == own | others

    record("results/a.json", 2)  # which a call has made anew that did not end well
    newer = contents(".snakemake/metadata")
    snakemake.recover_records(results)
    assert contents(".snakemake/metadata") == newer
    snakemake.keep_records(results)
    record("results/a.json", 1)  # a call in another folder has made what is there now
    snakemake.recover_records(results)
    assert contents(".snakemake/metadata") == newer


@pytest.mark.parametrize("at_work", [True, False])
def test_results_that_are_moved_keep_their_records_and_if_they_are_settled_one_age(
    at_work, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    record("results/a.json", 1, "data/results/raw.nii")
    record(f"results/{LONG}", 1, "results/a.json")
    old, new = Path("results"), tmp_path / "o't\\her" / "plä ce"
    for number, name in enumerate(("a.json", LONG)):
        (old / name).parent.mkdir(parents=True, exist_ok=True)
        (old / name).touch()
        os.utime(old / name, (number, number))
    snakemake.keep_records(old)
    if at_work:
        snakemake.unsettle(old)
    shutil.copytree(old, new)
    shutil.rmtree(".snakemake")
    snakemake.recover_records(new)
    found = dict(snakemake._read_records(Path(".snakemake/metadata")))
    assert [json.loads(text)["input"] for text in (found[new / "a.json"], found[new / LONG])] == [
        ["data/results/raw.nii"],
        [f"{new}/a.json"],
    ]
    assert (new / "a.json").stat().st_mtime == 0
    assert ((new / LONG).stat().st_mtime == 1) == at_work


# The reasons of a dry run, in this project's terms.


def changed(before: str, now: str) -> str:
    text = "Params have changed since last execution: Union of exclusive params before and now across all output:"
    return f"{text} before: {before} now: {now} "


def job(rule: str, reason: str, kind: str = "rule") -> str:
    return f"\n{kind} {rule}:\n    output: results/a.json\n    jobid: 3\n    reason: {reason}\n    wildcards: fold=0\n"


def test_jobs_of_one_rule_and_reason_are_counted():
    text = job("train", "Forced execution") * 3 + job("plan", "Forced execution", "localcheckpoint")
    text += "\nlocalrule all:\n    jobid: 0\n    reason: Input files updated by another job: a\n"
    assert planned_jobs(text) == [
        PlannedJobs("train", is_checkpoint=False, count=3, reason="forced"),
        PlannedJobs("plan", is_checkpoint=True, count=1, reason="forced"),
    ]
    assert planned_jobs("Building DAG of jobs...\nNothing to be done.\n") == []


def test_what_follows_from_a_checkpoint_alone_may_not_run():
    made = "Input files updated by another job: "

    def of(rule, reason, output, kind="rule"):
        return job(rule, reason, kind).replace("output: results/a.json", f"output: {output}")

    text = of("plan", f"{made}fingerprint", "plan", "localcheckpoint")
    text += of("check", "Set of input files has changed since last execution", "c1, c2", "checkpoint")
    text += of("fingerprint", f"{made}c2, c1", "fingerprint") + of("train", "Forced execution", "model")
    text += of("predict", f"{made}model, plan", "maps") + of("evaluate", f"{made}maps", "scores")
    undecided = "only if what it reads comes out otherwise"
    assert {job.rule: job.reason for job in planned_jobs(text)} == {
        "plan": undecided,
        "check": "files, cases, folds or configurations were added, removed or moved",
        "fingerprint": undecided,
        "train": "forced",
        "predict": "what it reads is made again",
        "evaluate": "what it reads is made again",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (changed("'a.b@1', 'a.c@2'", "'a.b@3', 'a.c@4'"), "code changed: a.b, a.c"),
        (
            changed("['x.s=[0.7,1.4]', 'x.r=0.01', 'x.y={}']", "['x.s=[0.7,1.4]', 'x.r=0.02', 'x.y={}']"),
            "x.r: 0.01 → 0.02",
        ),
        (changed("['x.a=1']", "['x.b=2']"), "x.b: nothing → 2; x.a: 1 → nothing"),
        (changed("", "'--save-probabilities'"), "now --save-probabilities"),
        ("Input files updated by another job: results/b.json", "what it reads is made again"),
        ("Something new", "Something new"),
    ],
)
def test_reasons(text, expected):
    (found,) = planned_jobs(job("train", text))
    assert found.reason == expected
