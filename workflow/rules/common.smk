"""The checked configuration, paths, and how a call starts and ends."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from segflow.contracts.errors import ConfigurationError, SegflowError
from segflow.processes.locks import try_lock
from segflow.workflow.config import WorkflowConfig
from segflow.workflow.datasets import read_sources
from segflow.workflow.plans import read_plans
from segflow.workflow.recipes import check_pretrained
from segflow.workflow.recipes import read_recipes
from segflow.workflow.records import keep_records, recover_records

# Jobs call `segflow`: where no environment provides it, the one beside this Python does. A conda environment holds the
# packages only; there it is a launcher of this checkout's code, ahead of any `segflow` with other packages.
SEARCHED = [*os.get_exec_path(), str(Path(sys.executable).parent)]
if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
    SEARCHED.insert(0, str(Path(workflow.current_basedir).parent / "bin"))
os.environ |= {"PATH": os.pathsep.join(SEARCHED)}

try:
    CONFIG = WorkflowConfig.parse(config, where="configuration", error=ConfigurationError)
    RECIPES = read_recipes(CONFIG)
    PLANS = read_plans(CONFIG, RECIPES)
    check_pretrained(RECIPES, PLANS.names)
    SOURCES = read_sources(CONFIG)
except SegflowError as problem:
    raise WorkflowError(str(problem)) from None

# What is computed once per data set, per plan, per prepared configuration, and per recipe.
RESULTS = CONFIG.output
DATASET = f"{RESULTS}/{{dataset}}"
PLAN = f"{DATASET}/plans/{{plan}}"
PREPARED = f"{DATASET}/preprocessed/{{plan}}/{{configuration}}"
EXPERIMENT = f"{DATASET}/{{recipe}}"
EXPERIMENTS = [(dataset, recipe) for dataset in SOURCES for recipe in RECIPES]

NAME = "|".join(map(re.escape, PLANS.names))


wildcard_constraints:
    dataset="|".join(map(re.escape, SOURCES)),
    recipe="|".join(map(re.escape, RECIPES)),
    plan="|".join(map(re.escape, PLANS.planning)),
    configuration=NAME,
    first=NAME,
    second=NAME,
    candidate=rf"(?:{NAME})(?:\+(?:{NAME}))?",
    fold=r"\d+",
    chunk=r"\d+",


def hold_results():
    """Keep other calls away from this folder until this one ends, however it ends.

    The kernel's lock needs no `--unlock` after a crash, which is why the profiles turn Snakemake's own off.
    """
    global results_lock
    Path(".snakemake").mkdir(exist_ok=True)
    results_lock = try_lock(Path(".snakemake/segflow.lock"))
    if results_lock is None:
        raise WorkflowError("another call is at work in this folder; wait for it, or stop it")


def stop_jobs(number, frame):
    """SIGINT sent to Snakemake alone: tell its jobs too, so that they keep their work and end."""
    for job in psutil.Process().children():
        job.send_signal(signal.SIGTERM)
    signal.default_int_handler(number, frame)


if workflow.is_main_process:
    signal.signal(signal.SIGINT, stop_jobs)
    recover_records(Path(RESULTS))


def settle():
    """Give all results the same age, but for those that are made from files of others: these may change any time.

    A stage whose result came out as before leaves what follows alone, which is then older than its input. Snakemake
    knows better as long as it remembers the inputs' digests; with equal ages and a copy of its records, `.snakemake`
    can be lost as well.
    """
    now = time.time()
    made = {file for job in workflow.dag.jobs for file in job.output}
    for job in workflow.dag.jobs:
        if all(file in made or file.is_ancient for file in job.input):
            # A result counts as old as the oldest of what its job wrote, its benchmark file included.
            for file in filter(
                os.path.exists, [*job.output, *([job.benchmark] if job.benchmark else [])]
            ):
                os.utime(file, (now, now))
    keep_records(Path(RESULTS))


def show_outcome():
    """Close with the outcome of one experiment, or with a table of several."""
    folders = [f"{RESULTS}/{dataset}/{recipe}" for dataset, recipe in EXPERIMENTS]
    if all(Path(folder, "report.html").exists() for folder in folders):
        verb = "summary" if len(folders) == 1 else "compare"
        subprocess.run([sys.executable, "-P", "-m", "segflow", verb, *folders], check=False)
