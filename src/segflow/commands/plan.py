"""`segflow plan`: derive the configurations from a fingerprint."""

from __future__ import annotations

import argparse
from pathlib import Path

from segflow.commands.console import console
from segflow.commands.options import add_settings_argument
from segflow.io.dataset import read_description
from segflow.io.plans import read_fingerprint, write_parts, write_plan
from segflow.planning import PlanInput, make_plan
from segflow.recipes import PlannerRecipe, parse_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments. Source: ours."""
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument("--fingerprint", type=Path, required=True, help="dataset_fingerprint.json")
    parser.add_argument("--output", type=Path, required=True, help="plans.json")
    parser.add_argument(
        "--parts", type=Path, help="folder for a file per configuration and stage, for the workflow"
    )
    parser.add_argument("--gpu-memory", type=float, metavar="GB", help="plan for a GPU of this size")
    parser.add_argument(
        "--spacing", type=float, nargs=3, metavar=("Z", "Y", "X"), help="target spacing in mm, for the rule's"
    )
    add_settings_argument(parser, "planning")


def run(options: argparse.Namespace) -> None:
    """Read dataset.json and fingerprint, plan, write. Source: method.md section 6."""
    description, labels = read_description(options.dataset)
    recipe = parse_settings(PlannerRecipe, "planning", [*options.settings, *_shorthands(options)])
    dataset = PlanInput(
        name=description.get("name", options.dataset.resolve().parent.name),
        channel_names=tuple(description["channel_names"].values()),
        n_cases=description["numTraining"],
        n_outputs=labels.n_entries,
    )
    plan = make_plan(read_fingerprint(options.fingerprint), dataset, recipe)
    write_plan(options.output, plan)
    if options.parts is not None:
        write_parts(options.parts, plan)
    for name, configuration in plan.configurations.items():
        patch = "x".join(map(str, configuration.patch_shape))
        spacing = " x ".join(f"{mm:.3g}" for mm in configuration.spacing_mm)
        console.print(f"{name}: patch {patch}, batch {configuration.batch_size}, spacing {spacing} mm")


def _shorthands(options: argparse.Namespace) -> list[str]:
    memory = [] if options.gpu_memory is None else [f"planning.gpu_memory_gb={options.gpu_memory}"]
    spacing = [] if options.spacing is None else [f"planning.spacing_mm={options.spacing}"]
    return memory + spacing
