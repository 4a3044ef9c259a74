"""`segflow why`: what the workflow would run, and for which reason."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from segflow.commands.console import answers
from segflow.contracts.errors import ConfigurationError
from segflow.recipes.settings import read_settings
from segflow.workflow.location import location
from segflow.workflow.snakemake import PlannedJobs, planned_jobs

#: The reason stands in each job's own lines, which a profile may have silenced.
_DRY_RUN = ("--dry-run", "--quiet", "host", "progress", "--nocolor", "--cores", "1")
_ENDINGS = {".yaml", ".yml"}


def why(*words: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Say what the workflow would run, and for which reason.

    Args:
        words: Options as for snakemake, such as --configfile my.yaml.

    Raises:
        ConfigurationError: Snakemake refuses the configuration; its own message follows.
    """
    names_one = any(word in {"-s", "--snakefile"} or word.startswith("--snakefile=") for word in words)
    if not names_one and not Path("Snakefile").exists():
        words = ("--snakefile", str(location("workflow")), *words)
    command = [sys.executable, "-m", "snakemake", *words, *_DRY_RUN]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    said = done.stdout + done.stderr
    if done.returncode != 0:
        _check_yaml(words)
        raise ConfigurationError(f"snakemake cannot say what it would do:\n{said.strip()}")
    jobs = planned_jobs(said)
    answers.print(_table(jobs) if jobs else "Nothing would be run: all results are up to date.")
    undecided = sorted({job.rule for job in jobs if job.is_checkpoint})
    if undecided:
        answers.print(
            f"What follows from {', '.join(undecided)} is decided when its result is there: "
            "it is left alone where the result is the same as before."
        )


def _check_yaml(words: Sequence[str]) -> None:
    """Say where a configuration is no YAML: Snakemake says only that it is none."""
    for word in words:
        file = Path(word.removeprefix("--configfile="))
        if file.is_file() and file.suffix in _ENDINGS:
            read_settings(file)


def _table(jobs: list[PlannedJobs]) -> Table:
    table = Table("stage", "jobs", "because", title="would run")
    table.columns[1].justify = "right"
    for job in jobs:
        table.add_row(job.rule.replace("_", " "), str(job.count), job.reason)
    return table
