"""The `segflow` command: one verb per stage. Each verb's module is imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from segflow import __version__
from segflow.commands.console import console, log_to, logger
from segflow.contracts.errors import SegflowError
from segflow.processes.gpus import leased_gpus
from segflow.processes.signals import end_with_parent
from segflow.storage.files import key_of
from segflow.workflow.code import closure
from segflow.workflow.job import recorded

__all__ = ["VERBS", "main"]

# Threads that wait for each other must not spin for long. A 3D training step on two cores took 137 ms with this setting
# (135 ms with the runtime's own) on a quiet machine, and 390 ms (up to 1270 ms) with one core taken by another program.
# The OpenMP runtime reads it when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

# numpy's matrix products stay in one thread: cases are spread over processes already, and no result may depend on how
# many there are. Read when numpy is first imported; torch has threads of its own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


#: Verb to (module of this package, what `segflow --help` says).
VERBS: dict[str, tuple[str, str]] = {
    "phantom": ("phantom", "write a small synthetic data set"),
    "check": ("check", "check a data set: files, geometry, label values"),
    "fingerprint": ("fingerprint", "measure a data set"),
    "plan": ("plan", "derive configurations from a fingerprint"),
    "folds": ("folds", "split the cases for cross-validation"),
    "preprocess": ("preprocess", "make cases network-ready"),
    "manifest": ("manifest", "sum up the prepared cases of all chunks"),
    "train": ("train", "train one configuration on one fold"),
    "predict-fold": ("predict_fold", "label the cases a network has never seen"),
    "previous-stage": ("previous_stage", "bring low-resolution predictions to the cascade's grid"),
    "ensemble": ("ensemble", "average the probabilities of two configurations"),
    "evaluate": ("evaluate", "score label maps against references"),
    "crossvalidate": ("crossvalidate", "merge the scores of several folds"),
    "select": ("select", "choose the best model or pair"),
    "postprocess-search": ("postprocess_search", "find the post-processing that pays"),
    "postprocess": ("postprocess", "apply the chosen post-processing to label maps"),
    "find-best": ("find_best", "choose and post-process by out-of-fold predictions, in one go"),
    "package": ("package", "put the chosen model together"),
    "report": ("report", "write one page about the whole experiment"),
    "summary": ("summary", "show the outcome of an experiment"),
    "compare": ("compare", "put several experiments in one table"),
    "why": ("why", "say what the workflow would run, and for which reason"),
    "export-nnunet": ("export_nnunet", "write a model package as nnU-Net's results folders"),
    "import-nnunet": ("import_nnunet", "make a model package of nnU-Net's results folders"),
    "predict": ("predict", "label new images with a model package"),
}

EXIT_USER_ERROR = 1
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: The command line without the program's name; the process's own by default.

    Returns:
        The exit status: 0, or 1 with one clear message, or 130 if interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    verb = next((word for word in arguments if not word.startswith("-")), None)
    common, _ = _common().parse_known_args(arguments)
    log_to(common.log)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        # Before the verb's module is imported, because that may import torch.
        with leased_gpus(common.gpus):
            options = _parse(verb, arguments)
            _expand_recipe(options)
            _run(options, arguments)
    except SegflowError as problem:
        logger.error("%s", problem)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        console.print("segflow: interrupted")
        return EXIT_INTERRUPTED
    return 0


def _parse(verb: str | None, arguments: Sequence[str]) -> argparse.Namespace:
    """The options; a verb that hands words on to another program gets those it does not know as `others`."""
    parser = _parser(verb)
    options, others = parser.parse_known_args(arguments)
    if others and not getattr(options, "takes_others", False):
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    options.others = others
    return options


def _expand_recipe(options: argparse.Namespace) -> None:
    """Replace `--recipe` by its values, in front of `--settings`: later ones win."""
    sections = getattr(options, "recipe_sections", ())
    if not sections or options.recipe is None:
        return
    from segflow.recipes.recipe import find_recipe  # noqa: PLC0415
    from segflow.recipes.settings import settings_of  # noqa: PLC0415  jobs do without

    recipe = find_recipe(options.recipe)
    words = [word for section in sections for word in settings_of(section, getattr(recipe, section))]
    options.settings = [*words, *options.settings]


def _run(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    code = closure(options.module)
    options.code = key_of(*(f"{module}@{digest}" for module, digest in sorted(code.items())))
    if not options.job:
        options.run(options)
        return
    end_with_parent()
    with recorded(options, ("segflow", *arguments), code):
        options.run(options)


def _common() -> argparse.ArgumentParser:
    """Options of every verb."""
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--log", type=Path, help="file that log lines are appended to")
    common.add_argument(
        "--gpus", type=int, default=0, help="hold so many GPUs of this machine; wait until they are free"
    )
    common.add_argument(
        "--job",
        action="store_true",
        help="run as a job of the workflow: end with it, and write the result's provenance beside it",
    )
    return common


def _parser(called: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="segflow", description="Self-configuring image segmentation.")
    parser.add_argument("--version", action="version", version=f"segflow {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb, (module_name, text) in VERBS.items():
        description = f"{text[0].upper()}{text[1:]}."
        own = verbs.add_parser(
            verb, help=text, description=description, parents=[_common()], allow_abbrev=False
        )
        if verb == called:
            name = f"segflow.commands.{module_name}"
            module = importlib.import_module(name)
            module.add_arguments(own)
            own.set_defaults(run=module.run, module=name)
    return parser


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    """Unwind like an exception, so that temporary files go and workers end."""
    raise SystemExit(EXIT_TERMINATED)
