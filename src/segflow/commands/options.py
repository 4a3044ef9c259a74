"""Arguments that several verbs share, and what they mean."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TypeVar

from segflow.commands.console import logger
from segflow.contracts.errors import ConfigurationError
from segflow.contracts.folds import Fold
from segflow.contracts.plan import Configuration, Plan
from segflow.recipes import InferenceRecipe, recipe_named

__all__ = [
    "add_inference_arguments",
    "choose_device",
    "chunk_of",
    "configuration_of",
    "fold_of",
    "inference_recipe",
    "parse_chunk",
]

T = TypeVar("T")


def parse_chunk(text: str) -> tuple[int, int]:
    """Understand "I/N": part I of N, counted from 0.

    Raises:
        argparse.ArgumentTypeError: It is not of that form.

    Source: ours.
    """
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError:
        index, count = 0, 0
    if not 0 <= index < count:
        raise argparse.ArgumentTypeError(f"'{text}' is not I/N with 0 <= I < N")
    return index, count


def chunk_of(items: Sequence[T], chunk: tuple[int, int]) -> Sequence[T]:
    """The chunk's share of the items: consecutive, shares differing by one at most.

    Args:
        items: All of them.
        chunk: (index, count).

    Returns:
        A part of `items`.

    Source: ours.
    """
    index, count = chunk
    return items[len(items) * index // count : len(items) * (index + 1) // count]


def configuration_of(plan: Plan, name: str) -> Configuration:
    """A configuration by name.

    Raises:
        ConfigurationError: The plan has none of that name.

    Source: ours.
    """
    if name not in plan.configurations:
        raise ConfigurationError(
            f"the plan for {plan.dataset_name} has no configuration '{name}'; it has {', '.join(plan.configurations)}"
        )
    return plan.configurations[name]


def fold_of(folds: Sequence[Fold], number: int) -> Fold:
    """A fold by number.

    Raises:
        ConfigurationError: There are not so many.

    Source: method.md section 10.
    """
    if not 0 <= number < len(folds):
        raise ConfigurationError(f"there is no fold {number}; the folds are 0 to {len(folds) - 1}")
    return folds[number]


def choose_device(wanted: str) -> str:
    """The device to compute on; says so when there is no GPU.

    Args:
        wanted: "auto", "cpu" or "cuda".

    Returns:
        "cpu" or "cuda".

    Raises:
        ConfigurationError: "cuda" was asked for and there is none.

    Source: ours.
    """
    import torch  # noqa: PLC0415  most verbs do without it

    if wanted == "cpu":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise ConfigurationError(
            "device is 'cuda', but no CUDA device is available; set it to 'auto' or 'cpu'"
        )
    logger.warning("no GPU found: computing on the CPU")
    return "cpu"


def add_inference_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how networks are applied, and where. Source: ours."""
    parser.add_argument(
        "--step", type=float, help="tile distance as a share of the patch (default: the recipe's)"
    )
    parser.add_argument(
        "--mirroring",
        action=argparse.BooleanOptionalAction,
        help="average over mirrored inputs (default: the recipe's)",
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is one"
    )
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all cores)"
    )


def inference_recipe(name: str, options: argparse.Namespace, **defaults: float) -> InferenceRecipe:
    """A recipe's way to predict, with what the command line changes.

    Args:
        name: Of the recipe.
        options: Of a verb with `add_inference_arguments`.
        defaults: Values that stand in for the recipe's.

    Returns:
        Step, Gaussian, mirroring.

    Source: ours.
    """
    chosen = {"step": options.step, "mirroring": options.mirroring}
    given = {key: value for key, value in chosen.items() if value is not None}
    return recipe_named(name).inference.model_copy(update={**defaults, **given})
