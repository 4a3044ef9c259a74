"""`segflow plan`: derive the configurations from a fingerprint."""

from __future__ import annotations

import argparse
from pathlib import Path

from segflow.commands.console import console
from segflow.io.dataset import read_description
from segflow.io.plans import read_fingerprint, write_plan
from segflow.planning import PlanInput, make_plan
from segflow.recipes import RECIPES, recipe_named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments. Source: ours."""
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument("--fingerprint", type=Path, required=True, help="dataset_fingerprint.json")
    parser.add_argument("--recipe", default="nnunet", help=f"one of {', '.join(RECIPES)} (default nnunet)")
    parser.add_argument("--output", type=Path, required=True, help="plans.json")
    parser.add_argument("--gpu-memory", type=float, metavar="GB", help="plan for a GPU of this size")
    parser.add_argument(
        "--spacing", type=float, nargs=3, metavar=("Z", "Y", "X"), help="target spacing in mm, for the rule's"
    )


def run(options: argparse.Namespace) -> None:
    """Read dataset.json and fingerprint, plan, write. Source: method.md section 6."""
    description, labels = read_description(options.dataset)
    recipe = recipe_named(options.recipe)
    if options.gpu_memory is not None:
        planner = recipe.planner.model_copy(update={"gpu_memory_gb": options.gpu_memory})
        recipe = recipe.model_copy(update={"planner": planner})
    dataset = PlanInput(
        name=description.get("name", options.dataset.resolve().parent.name),
        channel_names=tuple(description["channel_names"].values()),
        n_cases=description["numTraining"],
        n_outputs=labels.n_entries,
        spacing_mm=None if options.spacing is None else tuple(options.spacing),
    )
    plan = make_plan(read_fingerprint(options.fingerprint), dataset, recipe)
    write_plan(options.output, plan)
    for name, configuration in plan.configurations.items():
        patch = "x".join(map(str, configuration.patch_shape))
        spacing = " x ".join(f"{mm:.3g}" for mm in configuration.spacing_mm)
        console.print(f"{name}: patch {patch}, batch {configuration.batch_size}, spacing {spacing} mm")
