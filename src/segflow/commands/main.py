"""The command line: one command per stage. A command's module is imported only when it is called."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from inspect import BoundArguments
from pathlib import Path
from types import FrameType
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter

from segflow import __version__
from segflow.commands.arguments import Call, OutputFile, Settings
from segflow.contracts.errors import SegflowError, sentence_of
from segflow.processes.streams import open_closed_streams

__all__ = ["COMMANDS", "application", "main"]

logger = logging.getLogger("segflow")

# Threads that wait for each other must not spin for long. A 3D training step on two cores took 137 ms with this setting
# (135 ms with the runtime's own) on a quiet machine, and 390 ms (up to 1270 ms) with one core taken by another program.
# The OpenMP runtime reads it when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

# numpy's matrix products stay in one thread, whatever Snakemake asks for: cases are spread over processes already, and
# the last bits of a resampled image depend on how many threads there are. Read when numpy is first imported; torch has
# threads of its own.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

#: What a user calls, in the order of a project.
_FOR_USERS = {
    "phantom": "write a small synthetic data set",
    "import": "describe a data set in another layout (MSD, BIDS, DICOM, a table)",
    "check": "check a data set: files, geometry, label values",
    "fingerprint": "measure a data set",
    "plan": "derive configurations from a fingerprint",
    "forecast": "say what the trainings of a plan will cost",
    "run": "from a data set to a model package and its report, in one go",
    "watch": "show all trainings of some results while they run",
    "predict": "label new images with a model package",
    "evaluate": "score label maps against references",
    "find-best": "choose and post-process by out-of-fold predictions, in one go",
    "summary": "show the outcome of an experiment",
    "compare": "put several experiments in one table, and say how sure their differences are",
    "report": "write one page about a whole experiment",
    "why": "say what the workflow would run, and for which reason",
    "where": "say where the workflow's files are",
    "export": "write a model package in a form that other programs use",
    "import-model": "make a model package of a zip, or of nnU-Net's results",
}
#: What the workflow calls besides, in its own order.
_FOR_THE_WORKFLOW = {
    "folds": "split the cases for cross-validation",
    "preprocess": "make cases network-ready",
    "manifest": "sum up the prepared cases of all chunks",
    "train": "train one configuration on one fold",
    "predict-fold": "label the cases a network has never seen",
    "previous-stage": "bring low-resolution predictions to the cascade's grid",
    "ensemble": "average the probabilities of two configurations",
    "crossvalidate": "merge the scores of several folds",
    "select": "choose the best model or pair",
    "postprocess-search": "find the post-processing that improves the Dice",
    "postprocess": "apply the chosen post-processing to label maps",
    "assess": "measure the chosen model beyond Dice",
    "package": "put the chosen model together",
    "score-fast": "score --fast on cases its networks have not seen",
}
#: Command to module, which defines a function of the same name; "import" is a word of Python's.
COMMANDS = {name: name.replace("-", "_") for name in (*_FOR_USERS, *_FOR_THE_WORKFLOW)} | {
    "import": "import_dataset"
}

_USERS = Group.create_ordered("Main commands")
_WORKFLOW = Group.create_ordered("Stages that the workflow calls")
_EVERY_COMMAND = Group.create_ordered("Every command")

_EXIT_USER_ERROR = 1
_EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130
_EXIT_TERMINATED = 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The command line without the program's name; the process's own by default.

    Returns:
        The exit status: 0, or 1 or 2 (a command line that cannot be understood) with one clear message, or 130 if
        interrupted.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    open_closed_streams()
    _log_to(None)
    try:
        app = application(words)
        app.meta(words, exit_on_error=False, print_error=False, result_action="return_value")
    except SegflowError as problem:
        logger.error("%s", problem)  # noqa: TRY400  a sentence, no traceback
        return _EXIT_USER_ERROR
    except CycloptsError as problem:
        name = next((word for word in words if word.startswith("-") and Path(word).exists()), None)
        hint = (
            "see segflow --help, or segflow COMMAND --help"
            if name is None
            else f"write ./{name} for this path"
        )
        logger.error("%s; %s", str(problem).rstrip("."), hint)  # noqa: TRY400
        return _EXIT_USAGE
    except KeyboardInterrupt as problem:
        kept = str(problem) or "files that are complete are kept; repeat the call to go on"
        logger.log(logging.INFO if "--job" in words else logging.WARNING, "interrupted; %s", kept)
        return _EXIT_INTERRUPTED
    except (OSError, MemoryError) as problem:
        logger.error("%s", sentence_of(problem))  # noqa: TRY400  as above
        return _EXIT_USER_ERROR
    except Exception:
        logger.exception("this is a fault of segflow itself; please report it, with all of these lines:")
        return _EXIT_USER_ERROR
    return 0


def application(words: Sequence[str]) -> App:
    """All commands, and the options of every command.

    Only a command that is not called needs a line of help from here: that of the one called is its docstring.
    """
    app = App(
        name="segflow",
        help="Self-configuring image segmentation.",
        version=f"segflow {__version__}",
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(consume_multiple=True, negative=()),
    )
    for group, commands in ((_USERS, _FOR_USERS), (_WORKFLOW, _FOR_THE_WORKFLOW)):
        for place, (name, text) in enumerate(commands.items()):
            path = f"segflow.commands.{COMMANDS[name]}:{COMMANDS[name]}"
            app.command(path, name=name, help=None if name in words else text, group=group, sort_key=place)
    app.register_install_completion_command(
        group=_EVERY_COMMAND, help="complete commands and options with the Tab key"
    )
    app.meta.suppress_keyboard_interrupt = False  # `main` reports it
    app.meta.default(_launcher(app, ("segflow", *words)))
    return app


def _launcher(app: App, command: Sequence[str]) -> Callable[..., None]:
    """What happens before and after any command."""

    def launch(
        *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        log: Annotated[OutputFile | None, Parameter(group=_EVERY_COMMAND)] = None,
        hold_gpus: Annotated[int, Parameter(group=_EVERY_COMMAND)] = 0,
        job: Annotated[bool, Parameter(group=_EVERY_COMMAND)] = False,
    ) -> None:
        """Run a command.

        Args:
            words: The command and its arguments.
            log: File that log lines are appended to.
            hold_gpus: Number of GPUs of this machine to reserve; wait until they are free.
            job: Run as a job of the workflow: end with it, and write the result's provenance beside it.
        """
        from segflow.processes.gpus import leased_gpus

        _log_to(log)
        with leased_gpus(hold_gpus):  # before the command's module is imported, because that may import torch
            function, bound, injected = app.parse_args(words, exit_on_error=False, print_error=False)
            if function.__module__.startswith("cyclopts."):  # help, or the installation of completions
                function(*bound.args, **bound.kwargs)
            else:
                _run(function, bound, command, Call(job=job, gpus=hold_gpus), takes_call="call" in injected)

    return launch


def _run(
    function: Callable[..., None],
    bound: BoundArguments,
    command: Sequence[str],
    call: Call,
    *,
    takes_call: bool,
) -> None:
    for name, value in bound.arguments.items():
        bound.arguments[name] = _expanded(value) if isinstance(value, Settings) else value
    if not (call.job or takes_call):
        function(*bound.args, **bound.kwargs)
        return
    from segflow.commands.provenance import recorded
    from segflow.processes.signals import end_with_parent
    from segflow.storage.files import key_of
    from segflow.workflow.code import closure

    code = closure(function.__module__)
    key = key_of(*(f"{module}@{digest}" for module, digest in sorted(code.items())))
    call = Call(code=key, job=call.job, gpus=call.gpus)
    extra = {"call": call} if takes_call else {}
    if not call.job:
        function(*bound.args, **bound.kwargs, **extra)
        return
    end_with_parent()
    with recorded(function, bound.arguments, call, command, code):
        function(*bound.args, **bound.kwargs, **extra)


def _expanded(values: Settings) -> Settings:
    """A recipe replaced by its values, in front of the settings: later ones win."""
    if values.recipe is None:
        return values
    from segflow.recipes.recipe import SECTIONS, find_recipe  # a job does without
    from segflow.recipes.settings import settings_of

    recipe = find_recipe(values.recipe)
    words = [word for section in SECTIONS for word in settings_of(section, getattr(recipe, section))]
    return Settings(settings=(*words, *values.settings))


def _log_to(path: Path | None) -> None:
    """Send log lines to a file, or to none; warnings also go to the screen."""
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    screen = logging.StreamHandler()
    screen.setLevel(logging.WARNING)
    screen.setFormatter(logging.Formatter("segflow: %(message)s"))
    logger.addHandler(screen)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(path)
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(file)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    """Unwind like an exception, so that temporary files go and workers end."""
    raise SystemExit(_EXIT_TERMINATED)
