"""One target, fed with mutated seeds in a process that may hang or die."""

from __future__ import annotations

import hashlib
import multiprocessing
import re
import resource
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutate import mutated
from fuzz.targets import TARGETS
from segflow.contracts.errors import SegflowError

FOLDER = Path(__file__).parent
LIMIT_S = 30  # on a busy machine the start of a process takes seconds
MEMORY_BYTES = 8_000_000_000


@dataclass
class Outcome:
    """What came of a target.

    Attributes:
        counts: Inputs that were read, refused, escaped, or refused since a library crashed in a process of its own.
        escapes: What happened, with 0 for all numbers, to the first input to which it did.
    """

    counts: Counter[str] = field(default_factory=Counter)
    escapes: dict[str, bytes] = field(default_factory=dict)

    def add(self, content: bytes, kind: str, text: str) -> None:
        self.counts[kind] += 1
        if kind == "escaped":
            self.escapes.setdefault(re.sub(r"[-+]?\d[-+.e\d]*", "0", text), content)


def seeds_of(name: str) -> list[Path]:
    """The seeds of a target, sorted; and files of its format that were mishandled once, if they are here."""
    ending = Path(TARGETS[name].file).suffix
    found = sorted((FOLDER.parent.parent / "shared" / "faults").glob(f"*{ending}")) if ending else []
    return [*sorted((FOLDER / "seeds" / name).glob("*")), *found]


def replay(name: str) -> Outcome:
    """Give a target its seeds."""
    return _feed(name, iter([file.read_bytes() for file in seeds_of(name)]), float("inf"))


def fuzz(name: str, *, seconds: float, seed: int) -> Outcome:
    """Feed a target for some time; the same seed gives the same inputs."""
    return _feed(name, _inputs(name, seed), seconds)


def save(name: str, outcome: Outcome) -> list[Path]:
    """Keep the inputs that escaped, and what happened beside them."""
    folder = FOLDER / "found" / name
    files = []
    for text, content in outcome.escapes.items():
        folder.mkdir(parents=True, exist_ok=True)
        files.append(folder / hashlib.sha256(content).hexdigest()[:12])
        files[-1].write_bytes(content)
        files[-1].with_suffix(".txt").write_text(text)
    return files


def _inputs(name: str, seed: int) -> Iterator[bytes]:
    target = TARGETS[name]
    random = Random(f"{name} {seed}")
    plain = [file.read_bytes() for file in seeds_of(name)]
    opened = [target.unpack(content) for content in plain] if target.unpack else []
    while True:
        if target.make is not None:
            yield target.make(random)
        elif opened and target.pack is not None and random.random() < 0.75:
            yield target.pack(mutated(random.choice(opened), opened, random))
        else:
            yield mutated(random.choice(plain), plain, random)


def _feed(name: str, inputs: Iterator[bytes], seconds: float) -> Outcome:
    outcome, end = Outcome(), time.monotonic() + seconds
    reader = _Reader(name)
    try:
        for content in inputs:
            outcome.add(content, *reader.answer(content))
            if not reader.is_ready:
                reader.end()
                reader = _Reader(name)
            if time.monotonic() >= end:
                break
    finally:
        reader.end()
    return outcome


class _Reader:
    """A process that reads inputs."""

    def __init__(self, name: str) -> None:
        processes = multiprocessing.get_context("fork")
        self.folder = tempfile.TemporaryDirectory(prefix="fuzz.")
        self.file = Path(self.folder.name, TARGETS[name].file)
        self.connection, theirs = processes.Pipe()
        self.process = processes.Process(target=_serve, args=(name, self.file, theirs))
        self.process.start()
        theirs.close()
        self.is_ready = True

    def answer(self, content: bytes) -> tuple[str, str]:
        """How an input ended, and in what words."""
        self.file.write_bytes(content)
        self.connection.send(None)
        self.is_ready = False
        if not self.connection.poll(LIMIT_S):
            return "escaped", f"no answer after {LIMIT_S} s"
        try:
            answer = self.connection.recv()
        except EOFError:
            self.process.join()
            return "escaped", f"the process died ({self.process.exitcode})"
        self.is_ready = True
        return answer

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()
        self.folder.cleanup()


def _serve(name: str, file: Path, connection: Any) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")  # what a library remarks of a damaged file is no escape
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        connection.send(_outcome_of(name, file))


def _outcome_of(name: str, file: Path) -> tuple[str, str]:
    try:
        TARGETS[name].parse(file)
    except SegflowError as problem:
        if "\n" in str(problem):
            return "escaped", f"a message of several lines: {problem}"
        return ("crashed a library" if " crashed (" in str(problem) else "refused"), ""
    except Exception:  # noqa: BLE001  that is what is looked for
        lines = traceback.format_exc(limit=-4)
        return "escaped", lines.replace(str(file.parent), "")
    return "read", ""
