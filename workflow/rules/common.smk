"""The checked configuration, the paths of all results, and how a call starts and ends."""

import re
import subprocess
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from segflow.contracts.errors import ConfigurationError, SegflowError
from segflow.workflow.config import WorkflowConfig
from segflow.workflow.datasets import read_sources
from segflow.workflow.ending import end_well
from segflow.workflow.recipes import read_plans, read_recipes
from segflow.workflow.snakemake import (
    accept_any_age,
    granted,
    hold_results as hold,
    is_dated_ahead,
    recover_records,
    search_programs,
    settle as settle_results,
    unsettle,
)

search_programs(workflow, launcher=Path(workflow.current_basedir).parent / "bin")

if workflow.is_main_process:
    end_well(logger, Path(workflow.current_basedir), Path(str(config.get("output") or "results")))

try:
    CONFIG = WorkflowConfig.parse(config, where="configuration", error=ConfigurationError)
    RECIPES = read_recipes(CONFIG)
    PLANS = read_plans(CONFIG, RECIPES)
    SOURCES = read_sources(CONFIG)
except SegflowError as problem:
    raise WorkflowError(str(problem)) from None


class Experiment(dict):
    """A data set and a recipe, to be used as wildcards."""

    __getattr__ = dict.__getitem__


EXPERIMENTS = [
    Experiment(dataset=dataset, recipe=recipe) for dataset in SOURCES for recipe in RECIPES
]

# What is computed once per data set, ...
RESULTS = CONFIG.output
DATASET = f"{RESULTS}/{{dataset}}"
CHECK = f"{DATASET}/check/chunk_{{chunk}}.json"
FINGERPRINT = f"{DATASET}/dataset_fingerprint.json"
FOLDS = f"{DATASET}/splits_final.json"
# ... per plan, and per configuration of a plan, ...
PLAN = f"{DATASET}/plans/{{plan}}"
NETWORK = f"{PLAN}/network/{{configuration}}.json"
PREPARATION = f"{PLAN}/preparation/{{configuration}}.json"
PREPARED = f"{DATASET}/preprocessed/{{plan}}/{{configuration}}"
CASES = f"{PREPARED}/prepared.json"
# ... and per recipe.
EXPERIMENT = f"{DATASET}/{{recipe}}"
MODEL = f"{EXPERIMENT}/models/{{configuration}}/fold_{{fold}}/model.pt"
HISTORY = f"{EXPERIMENT}/models/{{configuration}}/fold_{{fold}}/training.csv"
FORECAST = f"{EXPERIMENT}/forecast.json"
PREVIOUS_STAGE = f"{EXPERIMENT}/previous_stage/manifest.json"
PREDICTIONS = f"{EXPERIMENT}/predictions/{{candidate}}/fold_{{fold}}/manifest.json"
SCORES = f"{EXPERIMENT}/evaluation/{{candidate}}/fold_{{fold}}.json"
SUMMARY = f"{EXPERIMENT}/evaluation/{{candidate}}/summary.json"
SELECTION = f"{EXPERIMENT}/selection.json"
POSTPROCESSING = f"{EXPERIMENT}/postprocessing.json"
FINAL = f"{EXPERIMENT}/final/manifest.json"
FINAL_SUMMARY = f"{EXPERIMENT}/final/summary.json"
ASSESSMENT = f"{EXPERIMENT}/assessment.json"
PACKAGE = f"{EXPERIMENT}/model/model.json"
FAST = f"{EXPERIMENT}/fast.json"
REPORT = f"{EXPERIMENT}/report.html"
REPORT_FILES = f"{EXPERIMENT}/report"
COMPARISON = f"{RESULTS}/comparison.csv"
COMPARISON_FILES = f"{RESULTS}/comparison"

NAME = "|".join(map(re.escape, PLANS.names))


wildcard_constraints:
    dataset="|".join(map(re.escape, SOURCES)),
    recipe="|".join(map(re.escape, RECIPES)),
    plan="|".join(map(re.escape, PLANS.planning)),
    configuration=NAME,
    first=NAME,
    second=NAME,
    candidate=rf"(?:{NAME})(?:\+(?:{NAME}))?",
    fold=r"\d+|all",
    chunk=r"\d+",


def log_of(job, folder=EXPERIMENT):
    """The log file of a job; the text may hold wildcards."""
    return f"{folder}/logs/{job}.log"


def benchmark_of(job, folder=EXPERIMENT):
    """Where the run time of a job goes."""
    return f"{folder}/benchmarks/{job}.tsv"


accept_any_age()
if workflow.is_main_process:
    recover_records(Path(RESULTS))


def hold_results():
    """Keep other calls away from these results until this one ends."""
    global locks
    try:
        locks = hold(Path(RESULTS))
    except SegflowError as problem:
        raise WorkflowError(str(problem)) from None
    unsettle(Path(RESULTS))


def settle():
    """To be called at the end of a successful call, also by a workflow that uses this one as a module."""
    settle_results(workflow, Path(RESULTS))


def show_outcome():
    """Close with the outcome of one experiment, or with a table of several, if this call was for it."""
    folders = expand(EXPERIMENT, dataset=SOURCES, recipe=RECIPES)
    made = {str(file) for job in workflow.dag.jobs for file in job.output}
    if made.issuperset(expand(REPORT, dataset=SOURCES, recipe=RECIPES)):
        command = "summary" if len(folders) == 1 else "compare"
        subprocess.run([sys.executable, "-P", "-m", "segflow", command, *folders], check=False)
