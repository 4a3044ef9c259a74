"""The pages of the reference that are made from signatures, docstrings and commented configuration files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import segflow
from segflow.commands.main import COMMANDS, application
from segflow.recipes.listing import default_listing
from segflow.workflow.location import location

_CONFIGURATION = """# Configuration

Every key of the workflow's configuration file, with its default. A file needs `dataset` and `output`; `segflow run`
takes the same keys as arguments, such as `training.epochs=100`. null: the plan or the recipe decides.
"""
_RECIPE = """# Values of a recipe

The fixed parameters of the method, with the values of the default recipe, `nnunet`. They may be given in the sections
of the configuration file or in a [recipe file](../../how-to/several-experiments.md). null: the method's rule decides.
Sections are those of [the method](../method.md).
"""
_COMMANDS = """# Command line

Every command has in addition `--log FILE` (log lines are appended to it), `--hold-gpus N` (wait for N free GPUs of this
machine and hold them) and `--job` (run as a job of the workflow, and write the result's provenance).
"""
_PYTHON = """# Python

Signatures and docstrings of all modules, by package. `Predictor` in [segflow.prediction](prediction.md) is what most
programs need; [the vocabulary](../../vocabulary.md) defines axes, shapes and units.
"""


def write(folder: Path) -> None:
    """Write all pages into a folder of their own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    packages = sorted(file.parent.name for file in Path(segflow.__file__).parent.glob("*/__init__.py"))
    toctree = "\n```{toctree}\n:maxdepth: 1\n" + "\n".join(packages) + "\n```\n"
    configuration = location("config").read_text(encoding="utf-8")
    pages = {
        "command-line": _COMMANDS + _command_line(),
        "configuration": _CONFIGURATION + _tables(configuration),
        "recipe": _RECIPE + _tables(default_listing()),
        "python": _PYTHON + toctree,
        **{name: _package(name) for name in packages},
    }
    for name, text in pages.items():
        folder.joinpath(f"{name}.md").write_text(text, encoding="utf-8")


def _command_line() -> str:
    """Commands and their options; those of every command are named once."""
    app = application(tuple(COMMANDS))  # a command that is named has its docstring as help
    text = app.generate_docs(output_format="markdown")
    text = text[text.index("## segflow ") :]
    text = re.sub(r"\*\*Every command\*\*:\n\n(\* .*\n( .*\n)*)+\n?", "", text)
    return "\n" + re.sub(r"^## segflow (--\S+)", r"## segflow \1", text, flags=re.MULTILINE)


def commented_keys(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Section (empty at the top level), key, default and comment of each line of a commented YAML file."""
    section, comment, shared = "", [], ""
    for line in text.splitlines():
        if match := re.fullmatch(r"( *)# ?(.*)", line):
            comment.append(match[2])
        elif match := re.fullmatch(r"( *)(\w+):(?: (.*))?", line):
            indented, key, value = match.groups()
            section = section if indented else "" if value else key
            shared = " ".join(comment) or (shared if value else "")  # keys below one comment share it
            yield section, key if value else "", value or "", shared
            comment = []
        else:
            comment = []


def _tables(text: str) -> str:
    """A table of keys that have no section, and one for each section."""
    made, current = "", None
    for section, key, value, meaning in commented_keys(text):
        if not key:
            made += f"\n## {section}\n\n{meaning}\n"
        if key and section != current:
            made += "\n| Key | Default | Meaning |\n|---|---|---|\n"
            current = section
        if key:
            name = f"{section}.{key}" if section else key
            made += f"| `{name}` | `{value}` | {meaning.replace('|', chr(92) + '|')} |\n"
    return made


def _package(name: str) -> str:
    folder = Path(segflow.__file__).parent / name
    modules = [
        f"segflow.{name}.{file.stem}" for file in sorted(folder.glob("*.py")) if file.stem != "__init__"
    ]
    parts = [f"# segflow.{name}\n", f"```{{eval-rst}}\n.. automodule:: segflow.{name}\n```\n"]
    parts += [
        f"## {module.rpartition('.')[2]}\n\n```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```\n"
        for module in modules
    ]
    return "\n".join(parts)
