"""The types of the commands' arguments: how a word of the command line is understood, and what is read or written.

A command is a function. Its signature and docstring are its command line and help (decision 0015), and its types tell
files that are read (`Reads`) from the one that is its result (`Result`): a job's provenance names both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from cyclopts import Parameter, Token, validators

from segflow.contracts.errors import ConfigurationError
from segflow.contracts.spelling import path_text
from segflow.processes.pool import usable_cores

__all__ = [
    "CORES",
    "Ahead",
    "Call",
    "Chunk",
    "DatasetFile",
    "Device",
    "ExperimentFolder",
    "Hours",
    "InputFile",
    "InputFolder",
    "InputPath",
    "Minutes",
    "ModelPackage",
    "OutputFile",
    "OutputFolder",
    "OutputPath",
    "Positive",
    "Reads",
    "Result",
    "ResultFile",
    "Seed",
    "Settings",
    "Shard",
    "Threads",
    "TrackerName",
    "Workers",
    "marks_of",
]

CORES: Final = usable_cores()
_PART = re.compile(r"([0-9]+)/([0-9]+)", re.ASCII)


@dataclass(frozen=True)
class Reads:
    """Marks an argument that is read.

    Attributes:
        names: Files of the folder that say what is in it; none if the argument is the file itself.
    """

    names: tuple[str, ...] = ()

    def files(self, path: Path) -> Iterator[Path]:
        """The files to record, as far as they exist."""
        files = [path / name for name in self.names] if self.names else [path]
        return (file for file in files if file.is_file())


@dataclass(frozen=True)
class Result:
    """Marks the file that a command is called for; a job's provenance is written beside it."""


@Parameter(parse=False)
@dataclass(frozen=True)
class Call:
    """The call that a command runs in; by default, that of a function.

    Attributes:
        code: Key of the command's code: what other code has made is made again.
        job: It is a job of the workflow, which shows no tables.
        gpus: GPUs it holds.
        inputs: Files that a job has read and that no argument names.
    """

    code: str = ""
    job: bool = False
    gpus: int = 0
    inputs: set[Path] = field(default_factory=set)

    def reads(self, *files: Path) -> None:
        """Note files that are read, where only the run can tell which."""
        if self.job:
            self.inputs.update(files)


@Parameter(name="*")
@dataclass(frozen=True)
class Settings:
    """Values of the recipe, as words SECTION.NAME=VALUE.

    The command line replaces a recipe by its values, so that no command's code depends on recipes it does not use.

    Attributes:
        settings: Values of the recipe, such as training.epochs=100 (default: those of nnunet).
        recipe: Name of a recipe, or a YAML file; the settings override its values.
    """

    settings: tuple[str, ...] = ()
    recipe: str | None = None


def marks_of(hint: Any) -> Iterator[Any]:
    """What a type is annotated with, also within unions and lists."""
    yield from getattr(hint, "__metadata__", ())
    for part in get_args(hint):
        yield from marks_of(part)


def _input(kind: str) -> Callable[[Any, Sequence[Token]], Path]:
    """Understands what exists: a file, a folder or (with "path") either."""

    def convert(_type: Any, tokens: Sequence[Token]) -> Path:
        path, named = _path(tokens)
        if not path.exists():
            raise ConfigurationError(f"{named}{path} does not exist")
        return _of_kind(path, kind, named)

    return convert


def _output(kind: str) -> Callable[[Any, Sequence[Token]], Path]:
    """Understands what is written: a file or a folder, which may be there."""

    def convert(_type: Any, tokens: Sequence[Token]) -> Path:
        path, named = _path(tokens)
        above = next((folder for folder in path.parents if folder.exists()), path.parent)
        if above.exists() and not above.is_dir():
            raise ConfigurationError(f"{named}{path} cannot be written: {above} is a file")
        return _of_kind(path, kind, named) if path.exists() else path

    return convert


def _of_kind(path: Path, kind: str, named: str) -> Path:
    found = "folder" if path.is_dir() else "file"
    if kind not in {"path", found}:
        raise ConfigurationError(f"{named}{path} is a {found}; name a {kind}")
    return path


def _dataset(_type: Any, tokens: Sequence[Token]) -> Path:
    """dataset.json, from itself or its folder."""
    path, named = _path(tokens)
    file = path if path.suffix == ".json" and not path.is_dir() else path / "dataset.json"
    if not file.is_file():
        raise ConfigurationError(
            f"{named}{file} does not exist; name a data set's folder or its dataset.json, or describe another "
            "layout with segflow import"
        )
    return file


def _package(_type: Any, tokens: Sequence[Token]) -> Path:
    """A package's folder, from itself, its model.json or the experiment's folder."""
    path, named = _path(tokens)
    folders = (path, path / "model", *([path.parent] if path.name == "model.json" else []))
    for folder in folders:
        if (folder / "model.json").is_file():
            return folder
    raise ConfigurationError(
        f"{named}{path} is no model package: {path / 'model.json'} does not exist; "
        "name the package's folder, its model.json or the experiment's folder"
    )


def _path(tokens: Sequence[Token]) -> tuple[Path, str]:
    """The path, and the option's name for messages."""
    token = tokens[0]
    named = "" if token.keyword is None else f"{token.keyword}: "
    if any("\ud800" <= character <= "\udfff" for character in token.value):
        raise ConfigurationError(
            f"{named}{token.value!a} is not UTF-8; rename it, as not every library can open it"
        )
    return Path(path_text(token.value)), named


def _chunk(_type: Any, tokens: Sequence[Token]) -> tuple[int, int]:
    index, count = _numbers(tokens[0].value)
    if not 0 <= index < count:
        raise ValueError(f"'{tokens[0].value}' is not I/N with 0 <= I < N")
    return index, count


def _shard(_type: Any, tokens: Sequence[Token]) -> tuple[int, int]:
    number, count = _numbers(tokens[0].value)
    if not 1 <= number <= count:
        raise ValueError(f"'{tokens[0].value}' is not one of 1/N to N/N, such as 1/4")
    return number, count


def _numbers(text: str) -> tuple[int, int]:
    match = _PART.fullmatch(text)
    return (int(match[1]), int(match[2])) if match else (-1, -1)


InputFile = Annotated[Path, Parameter(converter=_input("file")), Reads()]
InputFolder = Annotated[Path, Parameter(converter=_input("folder")), Reads(("manifest.json",))]
#: Files, or folders of them.
InputPath = Annotated[Path, Parameter(converter=_input("path")), Reads()]
#: dataset.json, named by itself or by its folder.
DatasetFile = Annotated[Path, Parameter(converter=_dataset), Reads()]
#: The folder with model.json.
ModelPackage = Annotated[Path, Parameter(converter=_package), Reads(("model.json",))]
#: Folder of one recipe's results on one data set.
ExperimentFolder = Annotated[
    Path, Parameter(converter=_input("folder")), Reads(("model/model.json", "final/summary.json"))
]
OutputFile = Annotated[Path, Parameter(converter=_output("file"))]
OutputFolder = Annotated[Path, Parameter(converter=_output("folder"))]
#: A file or a folder.
OutputPath = Annotated[Path, Parameter(converter=_output("path"))]
ResultFile = Annotated[Path, Parameter(converter=_output("file")), Result()]

#: (index, count) from 0.
Chunk = Annotated[tuple[int, int], Parameter(converter=_chunk, n_tokens=1, metavar="I/N")]
#: (number, count) from 1.
Shard = Annotated[tuple[int, int], Parameter(converter=_shard, n_tokens=1, metavar="I/N")]
Device = Literal["auto", "cpu", "cuda"]
Ahead = Annotated[int, Parameter(validator=validators.Number(gte=0))]
Minutes = Annotated[float, Parameter(validator=validators.Number(gt=0, lt=2**31))]
Hours = Minutes
Positive = Annotated[int, Parameter(validator=validators.Number(gte=1, lt=2**31))]
Seed = Annotated[int, Parameter(validator=validators.Number(gte=0, lt=2**63))]
Threads = Annotated[int, Parameter(show_default="all cores", validator=validators.Number(gte=1))]
TrackerName = Literal["tensorboard", "mlflow", "wandb"]
Workers = Threads
