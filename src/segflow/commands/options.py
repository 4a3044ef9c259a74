"""Arguments that several verbs share, and what they mean."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import suppress

from segflow.contracts.errors import ConfigurationError
from segflow.contracts.plan import Fold

__all__ = [
    "add_device_arguments",
    "add_settings_argument",
    "devices_for",
    "fold_of",
]


def fold_of(folds: Sequence[Fold], number: int) -> Fold:
    """A fold by number.

    Raises:
        ConfigurationError: There are not so many.

    Source: method.md section 10.
    """
    if not 0 <= number < len(folds):
        raise ConfigurationError(f"there is no fold {number}; the folds are 0 to {len(folds) - 1}")
    return folds[number]


def devices_for(device: str, gpus: int) -> tuple[str, ...]:
    """The devices that one training is shared among.

    Args:
        device: "cpu" or "cuda".
        gpus: How many the job holds. As CUDA_VISIBLE_DEVICES names no others, they are the first ones for CUDA.

    Returns:
        A single device unless the job holds several GPUs and computes on them.
    """
    return tuple(f"{device}:{i}" for i in range(gpus)) if device == "cuda" and gpus > 1 else (device,)


def add_settings_argument(parser: argparse.ArgumentParser, *sections: str) -> None:
    """Declare `--settings`, values of sections of the recipe, and `--recipe`, which stands for all of them.

    `segflow.commands.main` puts the recipe's values before the settings. So no verb's code depends on recipes it was
    not told of.
    """
    parser.add_argument(
        "--settings",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help=f"values of the recipe ({', '.join(sections)}), such as {sections[0]}.NAME=VALUE (default: nnunet's)",
    )
    with suppress(argparse.ArgumentError):  # `package` has an option of that name, which is but a name
        parser.add_argument(
            "--recipe",
            metavar="NAME",
            help="name of a recipe, or a YAML file; --settings go before its values",
        )
        parser.set_defaults(recipe_sections=sections)


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what a verb with a network runs on."""
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is one"
    )
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all cores)"
    )
