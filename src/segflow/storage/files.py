"""Writing so that a file is either whole or not there, and reading JSON with a clear error.

Versions of the program and of the libraries that shape its numbers.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from segflow import __version__
from segflow.contracts.codec import Contract
from segflow.contracts.errors import PlanError, SegflowError

__all__ = [
    "digest_of",
    "key_of",
    "open_atomically",
    "read_contract",
    "read_json",
    "versions",
    "write_atomically",
    "write_json",
    "write_text",
]

_BLOCK_BYTES = 1 << 20
C = TypeVar("C", bound=Contract)


@contextmanager
def open_atomically(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, which gets that name when the block ends well.

    Args:
        path: The final name; its folder is made if missing.

    Returns:
        A context manager around the temporary name, which has the same ending (image writers go by it).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it.

    Args:
        path: The final name; its folder is made if missing.
        write: Called with the temporary name.
    """
    with open_atomically(path) as temporary:
        write(temporary)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, data: Any) -> None:
    """Write plain data as indented JSON, atomically."""
    write_text(path, json.dumps(data, indent=2) + "\n")


def read_json(path: Path, *, error: type[SegflowError]) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        error: Class of the error to raise.

    Raises:
        SegflowError: (of class `error`) The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as problem:
        raise error(f"{path} is not valid JSON: {problem}") from None


def read_contract(kind: type[C], path: Path, *, error: type[SegflowError] = PlanError) -> C:
    """Read a JSON file and check it.

    Args:
        kind: The contract it must fulfil.
        path: The file.
        error: Class of the error to raise.

    Returns:
        The contract.

    Raises:
        SegflowError: (of class `error`) The file is missing, is not JSON, or breaks the contract.
    """
    return kind.parse(read_json(path, error=error), where=str(path), error=error)


def digest_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def key_of(*parts: str) -> str:
    """A name for all of the parts together: other parts, another name."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


_LIBRARIES = ("torch", "numpy", "scipy", "SimpleITK", "batchgenerators", "snakemake")


def versions() -> dict[str, str]:
    """Name to version, segflow and Python first."""
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"segflow": __version__, "python": platform.python_version(), **libraries}
