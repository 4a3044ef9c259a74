"""`segflow run`: the whole workflow on one data set, without a configuration file."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import yaml
from cyclopts import Parameter

from segflow.commands.arguments import DatasetFile, InputFile, OutputFolder, Positive, Seed
from segflow.commands.console import console
from segflow.contracts.errors import ConfigurationError
from segflow.recipes.settings import read_settings
from segflow.storage.files import write_text
from segflow.workflow.config import WorkflowConfig
from segflow.workflow.location import location
from segflow.workflow.recipes import read_recipes
from segflow.workflow.snakemake import hold_results

_INTERRUPTED: Final = 130
_AGAIN_S: Final = 0.5


def run(
    dataset: DatasetFile | None = None,
    *words: str,
    configfile: InputFile | None = None,
    output: Annotated[OutputFolder | None, Parameter(show_default="results")] = None,
    recipe: str | None = None,
    epochs: Positive | None = None,
    configurations: list[str] | None = None,
    folds: list[str] | None = None,
    seed: Seed | None = None,
    gpus: Annotated[int, Parameter(show_default="those of this machine")] | None = None,
    cores: Annotated[Positive | None, Parameter(show_default="all")] = None,
    profile: str | None = None,
    dry_run: bool = False,
) -> None:
    """Check, plan, prepare, train, select and package: from a data set to a model and its report.

    Writes the configuration that the call stands for to OUTPUT/run.yaml. To go on after an interruption, or to
    run again what a change concerns, repeat the call, or edit that file and call snakemake with it.

    Args:
        dataset: The data set's folder or dataset.json.
        words: Other keys of the configuration, KEY=VALUE, such as training.iterations=100.
        configfile: YAML with keys of the configuration; what else is given here replaces its values.
        output: Folder for the results.
        recipe: Name of a recipe, or a YAML file.
        epochs: Length of training.
        configurations: Those to train (default: all that are planned).
        folds: Those to train, from 0, or "all" for one network on all cases (default: those of
            the data set's splits_final.json, or 0 1 2 3 4).
        seed: Another seed gives other networks.
        gpus: Trainings that run side by side, each on a GPU of its own; 0 computes on the CPU.
        cores: CPU cores to use.
        profile: slurm, or the folder of a Snakemake profile, in place of that for one machine.
        dry_run: Only say what would be run; OUTPUT stays as it is.

    Raises:
        ConfigurationError: A value that is not allowed.
        SystemExit: A stage has failed, which has said why, or the call was interrupted.
    """
    (folds, first), (configurations, second) = _parted(folds), _parted(configurations)
    read = {} if configfile is None else read_settings(configfile)
    if dataset is None and not {"dataset", "datasets"} & set(read):
        raise ConfigurationError(
            "name a data set: segflow run FOLDER, of one that holds dataset.json and imagesTr"
        )
    given = {
        "dataset": None if dataset is None else str(dataset.parent),
        "output": None if output is None else str(output),
        "recipe": recipe,
        "configurations": configurations,
        "folds": None if folds is None else "all" if folds == ["all"] else [_plain(fold) for fold in folds],
        "seed": seed,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    replaced = {name for one in ("dataset", "recipe") if one in changes for name in (one, f"{one}s")}
    kept = {key: value for key, value in read.items() if key not in replaced}
    options = [] if epochs is None else [f"training.epochs={epochs}"]
    settings = _merged({"output": "results"} | kept | changes, [*options, *first, *second, *words])
    parsed = WorkflowConfig.parse(settings, where="segflow run", error=ConfigurationError)
    read_recipes(parsed)
    if not dry_run:
        for lock in hold_results(Path(parsed.output)):
            lock.release()  # Snakemake takes it; the run.yaml of a call that is at work stays
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(location("workflow"))]
    with TemporaryDirectory() if dry_run else nullcontext(parsed.output) as folder:
        file = Path(folder) / "run.yaml"
        command += ["--configfile", str(file), *_how(gpus, cores, profile, parsed.device)]
        header = f"# Written by segflow run. To run it again: {shlex.join(['snakemake', *command[3:]])}\n"
        write_text(file, header + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
        if not dry_run:
            console.print(f"configuration: {file}")
        status = _call([*command, *(["--dry-run"] if dry_run else [])])
    if status:
        raise SystemExit(status)  # the workflow has said why


def _parted(given: list[str] | None) -> tuple[list[str] | None, list[str]]:
    """The words of an option that takes several, and keys such as seed=1 that follow it, which it takes as well."""
    keys = [word for word in given or () if "=" in word]
    return given and [word for word in given if word not in keys], keys


def _merged(settings: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The settings with words such as training.epochs=5, whose values are YAML."""
    merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in settings.items()}
    for word in words:
        name, separator, text = word.partition("=")
        section, dot, key = name.partition(".")
        if not separator or not section or bool(dot) != bool(key):
            raise ConfigurationError(f"'{word}' is not of the form KEY=VALUE or SECTION.KEY=VALUE")
        value = _value(name, text)
        if not dot:
            merged[section] = value
            continue
        if merged.get(section) is None:  # as of a section whose lines are all commented out
            merged[section] = {}
        if isinstance(merged[section], dict):
            merged[section][key] = value
        else:
            raise ConfigurationError(f"'{word}': '{section}' has no keys")
    return merged


def _value(name: str, text: str) -> Any:
    """What stands for it in YAML, but of a pattern, such as [0-9]+, what is written."""
    if name == "patients":
        with suppress(yaml.YAMLError):
            value = yaml.safe_load(text)
            return value if isinstance(value, str | None) else text
        return text
    return _plain(text)


def _plain(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise ConfigurationError(f"'{text}' is not a value in YAML: {problem}") from None


def _how(gpus: int | None, cores: int | None, profile: str | None, device: str) -> list[str]:
    """Options of Snakemake about the machine. If a GPU must be used and there is none, its jobs say so."""
    if profile is not None:
        folder = str(location("slurm")) if profile == "slurm" else profile
        how = ["--workflow-profile", folder, *(["--cores", str(cores)] if cores else [])]
    else:
        how = ["--workflow-profile", str(location("profile")), "--cores", str(cores or "all")]
        gpus = (_gpus_here() or (None if device == "cuda" else 0)) if gpus is None else gpus
    return how if gpus is None else [*how, "--resources", f"gpu={gpus}"]


def _gpus_here() -> int:
    from segflow.processes.gpus import count_gpus

    return count_gpus()


def _call(command: Sequence[str]) -> int:
    """Run Snakemake, and stop it when this is to stop.

    It ignores Ctrl-C until the workflow is read, and with it how to end well; so it is told until it ends.
    """
    interrupts: list[int] = []  # that come while it is started
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    ignore = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    environment = os.environ | {"PYTHONSAFEPATH": "1"}
    with subprocess.Popen(command, env=environment, preexec_fn=ignore) as snakemake:  # noqa: S603, PLW1509  no threads yet
        signal.signal(signal.SIGINT, before)
        try:
            if interrupts:
                signal.raise_signal(signal.SIGINT)
            return snakemake.wait()
        except (KeyboardInterrupt, SystemExit):
            with suppress(KeyboardInterrupt):
                while snakemake.poll() is None:
                    snakemake.send_signal(signal.SIGINT)
                    time.sleep(_AGAIN_S)
            snakemake.wait()
            return _INTERRUPTED
