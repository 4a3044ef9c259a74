"""The code blocks of README and documentation: found, compared with the program, and run."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from snakemake.cli import get_argument_parser

from segflow.commands.main import COMMANDS, application
from segflow.contracts.errors import ConfigurationError
from segflow.workflow.config import _SECTION_KEYS, WorkflowConfig

REPOSITORY = Path(__file__).resolve().parents[2]
_FILES = (
    REPOSITORY / "README.md", REPOSITORY / "config" / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md")),
)  # fmt: skip
#: Pages by name; those that are made from the code are no text of ours.
PAGES = {
    str(file.relative_to(REPOSITORY)): file.read_text(encoding="utf-8")
    for file in _FILES
    if "generated" not in file.parts and file.name != "errors.md"
}
_BLOCK = re.compile(
    r"^(?: *<!-- (?:not run: (?P<reason>.+?)|needs (?P<need>\w+)) -->\n)?"
    r"(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
#: A block whose first line is a comment with a file's name is that file.
_NAMED = re.compile(r"# ([\w./-]+)\n")
_INLINE = re.compile(r"`([^`]+)`")
_KEY = re.compile(rf"({'|'.join(_SECTION_KEYS)})\.(\w+)\b(?!/|\.py)")
_EXTRA = re.compile(r"segflow\[([\w-]+)\]")
_EVERY_COMMAND = {"--help", "-h", "--log", "--hold-gpus", "--job"}


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: As the fence names it.
        text: What is in it.
        reason: Why it is never run; empty if it is.
        need: The marker of the tests that can run it; empty if all can.
    """

    language: str
    text: str
    reason: str
    need: str

    @property
    def file(self) -> str | None:
        """The file that the block is."""
        match = _NAMED.match(self.text)
        return match[1] if match else None


def blocks(page: str) -> list[Block]:
    """All blocks of a page that have a language, in order."""
    found = []
    for match in _BLOCK.finditer(PAGES[page]):
        text = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        found.append(Block(match["language"], text, match["reason"] or "", match["need"] or ""))
    return found


def faults(page: str) -> Iterator[str]:
    """What a page names that does not exist: verbs, options, keys of the configuration, extras."""
    for block in blocks(page):
        yield from _faults_of_block(block)
    for span in _INLINE.findall(_BLOCK.sub("", PAGES[page])):
        text = " ".join(span.split())
        if text.startswith("segflow "):
            yield from _faults_of_call(text.split())
        elif (match := _KEY.match(text)) and match[2] not in {"json", "csv", "parquet"}:
            yield from _faults_of_key(match[1], match[2])
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    yield from (f"segflow[{name}]" for name in _EXTRA.findall(PAGES[page]) if name not in extras)


def calls(text: str) -> Iterator[list[str]]:
    """The words of each call of segflow or snakemake in a shell script."""
    text = text.replace("\\\n", " ")
    for line in [*text.splitlines(), *re.findall(r"\$\((segflow [^)]*)\)", text)]:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        call: list[str] = []
        for word in [*lexer, ";"]:
            if call and set(word) <= set("();<>|&"):
                yield call
                call = []
            elif call or word in {"segflow", "snakemake"}:
                call.append(word)


def _faults_of_block(block: Block) -> Iterator[str]:
    if block.language == "yaml":
        yield from _faults_of_yaml(block.text)
    elif block.language == "json":
        json.loads(block.text)
    elif block.language != "python":
        for call in calls(block.text):
            yield from _faults_of_call(call)


def _faults_of_call(call: list[str]) -> Iterator[str]:
    program, *words = call
    given = [word.split("=")[0] for word in words if re.match(r"-[a-zA-Z]$|--\w", word)]
    if program == "snakemake":
        yield from (f"snakemake {name}" for name in given if name not in _options_of_snakemake())
    elif words and not words[0].startswith("-") and words[0] not in {*COMMANDS, "COMMAND"}:
        yield f"segflow {words[0]}"
    elif words and words[0] in COMMANDS:
        known = _options_of(words[0]) | _EVERY_COMMAND
        if words[0] == "why":  # takes those of snakemake
            known |= _options_of_snakemake()
        yield from (f"segflow {words[0]} {name}" for name in given if name not in known)
        for word in words[1:]:
            section, dot, key = word.partition("=")[0].partition(".")
            if "=" in word and dot and section in _SECTION_KEYS:
                yield from _faults_of_key(section, key)


def _faults_of_yaml(text: str) -> Iterator[str]:
    given = yaml.safe_load(text)
    for section in set(given) & set(_SECTION_KEYS):
        for key in given[section]:
            yield from _faults_of_key(section, key)
    if "based_on" in given:
        return
    try:
        WorkflowConfig.parse({"dataset": "d", "output": "o"} | given, where="block", error=ConfigurationError)
    except ConfigurationError as problem:
        yield str(problem)


def _faults_of_key(section: str, key: str) -> Iterator[str]:
    if key not in _SECTION_KEYS[section]:
        yield f"{section}.{key}"


@cache
def _options_of(verb: str) -> set[str]:
    arguments = application((verb,))[verb].assemble_argument_collection()
    return {name for argument in arguments for name in argument.names}


@cache
def _options_of_snakemake() -> set[str]:
    return {name for action in get_argument_parser()._actions for name in action.option_strings}
