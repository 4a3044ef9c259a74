"""Killed in any way, the next plain call finishes, with results that are identical to the bit."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from random import Random

import pytest
from workflow_runs import Experiment

from faults import (
    LIMIT_S,
    SIGNALS,
    SIGNS,
    STAGES,
    TARGETS,
    outcome,
    remove,
    strike,
    strike_at_random,
    undisturbed_experiment,
    wait_for,
)

pytestmark = pytest.mark.workflow

#: The row that a short run of the tests keeps.
QUICK = ("train", "SIGKILL", "both")
#: Kills at random moments; many more by hand.
KILLS = int(os.environ.get("SEGFLOW_KILLS", "30"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Experiment:
    """One configuration, so that the job that is struck is the one that is under way."""
    folder = tmp_path_factory.mktemp("undisturbed") / "experiment"
    return undisturbed_experiment(folder, configurations=["2d"])


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Experiment:
    """Two configurations, which are averaged."""
    return undisturbed_experiment(tmp_path_factory.mktemp("pair") / "experiment")


@pytest.mark.parametrize(
    ("verb", "name", "target"),
    [
        pytest.param(*row, marks=() if row == QUICK else pytest.mark.slow)
        for row in dict.fromkeys([
            *itertools.product(SIGNS, SIGNALS, TARGETS),
            *itertools.product(STAGES, ["SIGKILL"], ["both"]),
        ])
    ],
)  # fmt: skip
def test_killed(tmp_path, verb, name, target, request):
    undisturbed = request.getfixturevalue("pair" if verb == "ensemble" else "undisturbed")
    experiment = undisturbed.copy(tmp_path / "experiment")
    remove(experiment, STAGES[verb])
    failed = strike(experiment, verb, target, SIGNALS[name])
    if (name, target) != ("SIGTERM", "snakemake"):  # which lets its jobs finish
        assert failed
    left = any(experiment.shared.glob(SIGNS["train"]))
    experiment.finish()
    assert outcome(experiment) == outcome(undisturbed)
    logs = "".join(log.read_text() for log in (experiment.results / "logs" / "train").iterdir())
    if verb == "train" and left:
        assert "resumed after epoch" in logs
    assert left == (verb == "train" and (name, target) != ("SIGTERM", "snakemake"))
    assert not any(experiment.shared.glob(SIGNS["train"]))


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_killed_at_random_moments(undisturbed, tmp_path):
    """One call after the other is struck, until the results are there; then it begins anew."""
    random, struck = Random(int(os.environ.get("SEGFLOW_SEED", "0"))), []
    while len(struck) < KILLS:
        experiment = undisturbed.copy(tmp_path / "experiment")
        shutil.rmtree(experiment.output)
        shutil.rmtree(experiment.folder / ".snakemake")
        while what := strike_at_random(experiment, random, longest_s=25.0):
            struck.append(what)
            print(len(struck), what, flush=True)  # noqa: T201  shown where the test fails
        experiment.finish()
        assert outcome(experiment) == outcome(undisturbed), struck
        shutil.rmtree(experiment.folder)


@pytest.mark.slow
def test_two_calls_in_one_folder_or_on_the_same_results(undisturbed, tmp_path):
    experiment = undisturbed.copy(tmp_path / "experiment")
    shutil.rmtree(experiment.results)
    other = Experiment(tmp_path / "other")
    shutil.copytree(experiment.dataset, other.dataset)
    text = (experiment.folder / "config.yaml").read_text()
    (other.folder / "config.yaml").write_text(text.replace("output: results", f"output: {experiment.output}"))
    with experiment.start() as first:
        wait_for(lambda: any(experiment.shared.glob(SIGNS["train"])), what="training")
        assert "another call is at work in this folder" in experiment.fail()
        assert f"another call is at work in {experiment.output}" in other.fail()
        os.killpg(first.pid, signal.SIGINT)
        first.communicate(timeout=LIMIT_S)
    experiment.finish()
    assert outcome(experiment) == outcome(undisturbed)
