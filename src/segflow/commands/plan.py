"""`segflow plan`: derive the configurations from a fingerprint, or take an edited plan."""

from __future__ import annotations

import argparse
from pathlib import Path

from segflow.commands.console import console
from segflow.commands.options import add_settings_argument
from segflow.contracts.errors import ConfigurationError, DatasetError, PlanError
from segflow.contracts.plan import Plan
from segflow.images.dataset import read_description
from segflow.nnunet.fingerprint import read_fingerprint
from segflow.nnunet.parts import write_parts
from segflow.nnunet.plans import custom_configurations, read_plan, write_plan
from segflow.planning.plan import PlanInput, make_plan
from segflow.recipes.planner import PlannerRecipe
from segflow.recipes.settings import parse_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument("--fingerprint", type=Path, required=True, help="dataset_fingerprint.json")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="plans.json; configurations of other names than the planner's that are in it are kept",
    )
    parser.add_argument(
        "--parts", type=Path, help="folder for a file per configuration and stage, for the workflow"
    )
    parser.add_argument("--gpu-memory", type=float, metavar="GB", help="plan for a GPU of this size")
    parser.add_argument(
        "--spacing",
        type=float,
        nargs=3,
        metavar=("Z", "Y", "X"),
        help="target spacing of 3d_fullres in mm along the axes of the images, in place of the rule's",
    )
    parser.add_argument(
        "--edited",
        type=Path,
        metavar="PLANS",
        help="take this plan, which somebody has edited, and plan nothing",
    )
    add_settings_argument(parser, "planning")


def run(options: argparse.Namespace) -> None:
    """Read dataset.json and fingerprint, plan, write. Source: method.md section 6."""
    dataset = _plan_input(options.dataset)
    fingerprint = read_fingerprint(options.fingerprint)
    words = [*options.settings, *_shorthands(options)]
    if options.edited is None:
        plan = make_plan(fingerprint, dataset, parse_settings(PlannerRecipe, "planning", words))
    else:
        plan = _edited(options.edited, dataset, words)
    if options.parts is None and options.edited is None:
        plan = write_plan(options.output, plan, custom=custom_configurations(options.output))
    else:  # the workflow's plan holds what its rules know of, and no more
        plan = write_plan(options.output, plan)
    if options.parts is not None:
        write_parts(options.parts, plan)
    _show(plan)


def _plan_input(file: Path) -> PlanInput:
    description, labels = read_description(file)
    declared = description["numTraining"]
    if not isinstance(declared, int) or declared < 1:
        raise DatasetError(f"{file}: numTraining must be the number of training cases, found {declared!r}")
    return PlanInput(
        name=file.resolve().parent.name,  # by which the peer finds the data set's folders
        channel_names=tuple(description["channel_names"].values()),
        n_cases=declared,
        n_outputs=labels.n_entries,
        file_ending=str(description["file_ending"]),
        reader=description.get("overwrite_image_reader_writer"),
    )


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


def _shorthands(options: argparse.Namespace) -> list[str]:
    memory = [] if options.gpu_memory is None else [f"planning.gpu_memory_gb={options.gpu_memory}"]
    spacing = [] if options.spacing is None else [f"planning.spacing_mm={options.spacing}"]
    return memory + spacing


def _show(plan: Plan) -> None:
    for name, configuration in plan.configurations.items():
        patch = "x".join(map(str, configuration.patch_shape))
        spacing = " x ".join(f"{mm:.3g}" for mm in configuration.spacing_mm)
        console.print(f"{name}: patch {patch}, batch {configuration.batch_size}, spacing {spacing} mm")
