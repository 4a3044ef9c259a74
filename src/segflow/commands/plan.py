"""`segflow plan`: derive the configurations from a fingerprint, or take an edited plan."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from segflow.commands.arguments import DatasetFile, InputFile, OutputFolder, ResultFile, Settings
from segflow.commands.console import console
from segflow.contracts.errors import ConfigurationError, PlanError
from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.plan import Plan
from segflow.images.dataset import read_description
from segflow.nnunet.parts import write_parts
from segflow.nnunet.plans import custom_configurations, read_plan, write_plan
from segflow.planning.plan import PlanInput, make_plan
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.settings import parse_settings
from segflow.storage.files import read_contract


def plan(
    *,
    dataset: DatasetFile,
    fingerprint: InputFile,
    output: ResultFile,
    parts: OutputFolder | None = None,
    gpu_memory: float | None = None,
    spacing: tuple[float, float, float] | None = None,
    architecture_of: InputFile | None = None,
    edited: InputFile | None = None,
    forecast: Annotated[bool, Parameter(negative="--no-forecast")] = True,
    values: Settings = Settings(),
) -> None:
    """Derive the configurations from a fingerprint, or take an edited plan.

    Args:
        dataset: The data set's folder or dataset.json.
        fingerprint: dataset_fingerprint.json.
        output: plans.json; configurations in it that the planner does not make are kept.
        parts: Folder for a file per configuration and stage, for the workflow.
        gpu_memory: Memory of the GPU to plan for, in GB.
        spacing: Target spacing of 3d_fullres in mm along the axes Z, Y, X of the images, in place of the rule's.
        architecture_of: Take the networks of the configurations of this plans.json, to fine-tune them; a patch grows to
            fit their strides.
        edited: Take this plans.json, which somebody has edited, and plan nothing.
        forecast: Say also what its trainings will cost, by timing a few steps on this machine; see segflow forecast.
        values: Section "planning"; the forecast reads all.

    Source: method.md section 6.
    """
    about = plan_input(dataset)
    measured = read_contract(Fingerprint, fingerprint)
    words = [
        *values.settings,
        *([] if gpu_memory is None else [f"planning.gpu_memory_gb={gpu_memory}"]),
        *([] if spacing is None else [f"planning.spacing_mm={list(spacing)}"]),
    ]
    if edited is None:
        made = make_plan(measured, about, parse_settings(PlannerRecipe, "planning", words))
        made = made if architecture_of is None else _with_architectures(made, architecture_of)
    else:
        made = _edited(edited, about, words)
    # The workflow's plan holds what its rules know of, and no more.
    custom = custom_configurations(output) if parts is None and edited is None else {}
    made = write_plan(output, made, custom=custom)
    if parts is not None:
        write_parts(parts, made)
    _show(made)
    if forecast and parts is None:  # in the workflow, a stage of its own says it
        _show_cost(dataset, output, words)


def plan_input(file: Path) -> PlanInput:
    """What planning needs to know of a dataset.json."""
    description, labels = read_description(file)
    return PlanInput(
        # By which nnU-Net finds the data set's folders; a link has a name of its own.
        name=Path(os.path.abspath(file)).parent.name,  # noqa: PTH100
        channel_names=tuple(description["channel_names"].values()),
        n_cases=description["numTraining"],
        n_outputs=labels.n_entries,
        file_ending=str(description["file_ending"]),
        reader=description.get("overwrite_image_reader_writer"),
    )


def _with_architectures(made: Plan, file: Path) -> Plan:
    """A plan with the networks of another one's configurations of the same names."""
    others = read_plan(file).configurations
    found = {}
    for name, configuration in made.configurations.items():
        if name in others and others[name].dimensions == configuration.dimensions:
            network = others[name].architecture
            divisors = map(math.prod, zip(*network.strides, strict=True))
            edges = zip(configuration.patch_shape, divisors, strict=True)
            patch = tuple(math.ceil(edge / divisor) * divisor for edge, divisor in edges)
            changes = {"architecture": network, "patch_shape": patch}
            found[name] = configuration.model_copy(update=changes)
    if not found:
        raise PlanError(f"{file} has none of the configurations {', '.join(made.configurations)}")
    return made.model_copy(update={"configurations": made.configurations | found})


def _edited(file: Path, dataset: PlanInput, words: list[str]) -> Plan:
    if words:
        raise ConfigurationError(
            f"{file} is taken as it is: leave out --recipe, --settings, --gpu-memory and --spacing, or edit it"
        )
    plan = read_plan(file)
    if len(plan.intensities) != len(dataset.channel_names):
        raise PlanError(
            f"{file} is for {len(plan.intensities)} channels, but dataset.json names {len(dataset.channel_names)}"
        )
    return plan


def _show_cost(dataset: Path, plan: Path, words: list[str]) -> None:
    """In a process of its own, so that no plan depends on the code that trains."""
    settings = ["--settings", *words] if words else []
    command = ["-P", "-m", "segflow", "forecast", "--dataset", str(dataset), "--plan", str(plan), *settings]
    if subprocess.run([sys.executable, *command], check=False).returncode:  # noqa: S603
        raise ConfigurationError(
            f"{plan} is written, but its cost cannot be said; --no-forecast leaves it out"
        )


def _show(plan: Plan) -> None:
    for name, configuration in plan.configurations.items():
        patch = "x".join(map(str, configuration.patch_shape))
        spacing = " x ".join(f"{mm:.3g}" for mm in configuration.spacing_mm)
        console.print(f"{name}: patch {patch}, batch {configuration.batch_size}, spacing {spacing} mm")
