"""What a dry run prints, in words of this project."""

from __future__ import annotations

import pytest

from segflow.workflow.snakemake import PlannedJobs, planned_jobs

PARAMS = (
    "Params have changed since last execution: Union of exclusive params before and now across all output:"
    " before: {before} now: {now} "
)


def job(rule: str, reason: str, kind: str = "rule") -> str:
    return f"\n{kind} {rule}:\n    output: results/a.json\n    jobid: 3\n    reason: {reason}\n    wildcards: fold=0\n"


def reason_of(text: str) -> str:
    (found,) = planned_jobs(job("train", text))
    return found.reason


def test_jobs_of_one_rule_and_reason_are_counted():
    text = job("train", "Forced execution") * 3 + job("plan", "Forced execution", "localcheckpoint")
    text += job("all", "Input files updated by another job: a", "localrule")
    assert planned_jobs(text) == [
        PlannedJobs("train", is_checkpoint=False, count=3, reason="asked for"),
        PlannedJobs("plan", is_checkpoint=True, count=1, reason="asked for"),
    ]


def test_nothing():
    assert planned_jobs("Building DAG of jobs...\nNothing to be done.\n") == []


def test_code_by_module():
    before = "'segflow.losses.dice@111111111111', 'segflow.training.loop@222222222222'"
    now = "'segflow.losses.dice@333333333333', 'segflow.training.loop@444444444444'"
    said = reason_of(PARAMS.format(before=before, now=now))
    assert said == "code changed: segflow.losses.dice, segflow.training.loop"


def test_only_settings_that_differ_with_both_values():
    listed = [
        "training.epochs=2",
        "augmentation.scaling=[0.7,1.4]",
        "training.learning_rate={}",
        "training.x={{}}",
    ]
    words = repr(listed)
    said = reason_of(PARAMS.format(before=words.format("0.01"), now=words.format("0.02")))
    assert said == "training.learning_rate: 0.01 → 0.02"


def test_settings_that_come_and_go():
    said = reason_of(PARAMS.format(before="['training.a=1']", now="['training.b=2']"))
    assert said == "training.b: nothing → 2; training.a: 1 → nothing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Missing output files: results/a.json", "not made yet"),
        ("Input files updated by another job: results/b.json", "what it reads is made again"),
        (
            "Set of input files has changed since last execution",
            "cases, folds or configurations were added or removed",
        ),
        ("Updated input files: data/imagesTr/a_0000.nii.gz", "changed: data/imagesTr/a_0000.nii.gz"),
        ("Code has changed since last execution", "its rule was changed"),
        ("Something new", "Something new"),
    ],
)
def test_other_reasons(text, expected):
    assert reason_of(text) == expected
