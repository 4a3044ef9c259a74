"""How old results are when a call has ended well."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

from snakemake_calls import call_snakemake
from workflow_runs import REPOSITORY

from segflow.workflow.snakemake import planned_jobs, settle


class Ancient(str):
    is_ancient = True


class File(str):
    is_ancient = False


def test_no_result_is_older_than_what_it_is_made_from(tmp_path, monkeypatch):
    """Others keep their age: what follows from them may have no part in the call. So do those from files of others."""
    monkeypatch.chdir(tmp_path)
    ages = {
        "raw": 9,
        "first": 5,
        "second.tsv": 3,
        "second": 4,
        "third": 2,
        "folder/.snakemake_timestamp": 1,
        "last": 8,
    }
    for name, age in ages.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
        os.utime(name, (age, age))
    jobs = [
        ([File("folder"), File("third")], ["last"], None),
        ([File("second")], ["third", "folder"], None),
        ([File("raw")], ["first"], None),
        ([File("first"), Ancient("raw")], ["second", "missing"], "second.tsv"),
    ]
    jobs = [SimpleNamespace(input=read, output=made, benchmark=file) for read, made, file in jobs]
    settle(SimpleNamespace(dag=SimpleNamespace(jobs=jobs)), tmp_path / "results")
    assert {name: Path(name).stat().st_mtime for name in ages} == {
        **dict.fromkeys(ages, 5),
        "raw": 9,
        "last": 8,
    }


def test_a_call_for_some_results_leaves_what_follows_from_them_as_it_is(tmp_path):
    """Though they are too large for Snakemake to compare their content."""
    rules = """
from pathlib import Path
from segflow.workflow.snakemake import recover_records, settle
if workflow.is_main_process:
    recover_records(Path("results"))
rule all:
    input: expand("results/labels_{fold}", fold=range(config["folds"]))
rule models:
    input: expand("results/model_{fold}", fold=range(config["folds"]))
rule train:
    output: "results/model_{fold}"
    shell: "head -c 2000000 /dev/zero > {output}"
rule predict:
    input: "results/model_{fold}"
    output: "results/labels_{fold}"
    shell: "touch {output}"
onsuccess:
    settle(workflow, Path("results"))
"""
    (tmp_path / "Snakefile").write_text(rules)

    def run(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
        done = call_snakemake(["--cores", "1", "--config", *words], tmp_path, environment)
        assert done.returncode == 0, done.stdout
        return done.stdout

    run("folds=1")
    run("folds=2", "--", "models")
    said = run("folds=2", "--dry-run", "--quiet", "host", "progress")
    assert [(job.rule, job.count, job.reason) for job in planned_jobs(said)] == [
        ("predict", 1, "not made yet")
    ]
