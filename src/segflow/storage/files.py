"""Files that are complete or absent, read with clear errors and compared by digests."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from tokenize import TokenError
from typing import TYPE_CHECKING, Any, Final, TypeVar

from segflow import __version__
from segflow.contracts.codec import Contract
from segflow.contracts.errors import PlanError, SegflowError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DAMAGE",
    "cell_text",
    "changed_file",
    "copy_file",
    "digest_of",
    "digests_of",
    "key_of",
    "open_atomically",
    "parse_json",
    "read_contract",
    "read_json",
    "temporary_folder",
    "versions",
    "write_array",
    "write_json",
    "write_text",
]

C = TypeVar("C", bound=Contract)

#: What Python and NumPy raise for files that are not what they should be.
DAMAGE: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
    struct.error,
)

_LIBRARIES = ("torch", "numpy", "scipy", "SimpleITK", "batchgenerators", "snakemake")


@contextmanager
def open_atomically(path: Path) -> Iterator[Path]:
    """Lend a temporary name beside `path`; the file is renamed to `path` if the block succeeds, else removed.

    The folder is made if missing, and rid of what killed processes left in it. The temporary name is hidden.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent)
    temporary = path.with_name(f".{_host()}-{os.getpid()}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as problem:
        if problem.filename is None or str(problem.filename) == str(temporary):
            reason = problem.strerror or str(problem)  # NumPy gives just a text
            raise OSError(problem.errno or 0, reason, str(path)) from problem
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """Lend a hidden folder in a folder, which is made if missing; what the block does not rename is removed."""
    beside.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(beside)
    with TemporaryDirectory(prefix=f".{_host()}-{os.getpid()}.", dir=beside) as folder:
        yield Path(folder)


@cache
def _host() -> str:
    """What temporary names begin with: the machine, or container, in which a process has its number."""
    numbers = Path("/proc/self/ns/pid")
    space = numbers.stat().st_ino if numbers.exists() else 0
    return key_of(platform.node(), str(space))[:8]


@lru_cache(maxsize=1024)
def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files of processes that were killed; looked for once, and those of other hosts stay."""
    for left in folder.glob(f".{_host()}-*"):
        owner = re.match(r"-(\d+)\.", left.name[1 + len(_host()) :])
        if owner is not None and not _is_running(int(owner[1])):
            shutil.rmtree(left, ignore_errors=True)
            with suppress(OSError):  # it was a folder, or another process was faster
                left.unlink()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with open_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def copy_file(source: Path, target: Path) -> None:
    """Copy a file atomically."""
    with open_atomically(target) as temporary:
        shutil.copyfile(source, temporary)


def cell_text(text: str) -> str:
    """Text as a cell of a CSV file, in which spreadsheets would take some names for formulas."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def write_json(path: Path, data: Any) -> None:
    """Write plain data as indented JSON, atomically."""
    write_text(path, json.dumps(data, indent=2) + "\n")


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy in C order, atomically; equal arrays give equal bytes."""
    import numpy as np  # noqa: PLC0415  much of what uses this module does without

    with open_atomically(path) as temporary:
        np.save(temporary, np.ascontiguousarray(array), allow_pickle=False)


def read_json(path: Path, *, error: type[SegflowError]) -> Any:
    """Read a JSON file.

    Raises:
        SegflowError: (of class `error`) The file is missing or is not JSON.
    """
    try:
        return parse_json(path.read_bytes(), path, error=error)
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None


def parse_json(text: str | bytes, where: Path, *, error: type[SegflowError]) -> Any:
    """JSON of a file; errors as `read_json`."""
    try:
        found = json.loads(text if isinstance(text, str) else text.decode("utf-8-sig"))
        # Half a character, as "\\ud800" is, could be neither shown nor written.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as problem:  # also numbers of more digits than Python reads
        raise error(f"{where} is not valid JSON: {problem}") from None
    return found


def read_contract(kind: type[C], path: Path, *, error: type[SegflowError] = PlanError) -> C:
    """Read a JSON file and check it against a contract.

    Raises:
        SegflowError: (of class `error`) The file is missing, is not JSON, or breaks the contract.
    """
    return kind.parse(read_json(path, error=error), where=str(path), error=error)


def digest_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests_of(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """Path of each file, relative to a folder and with slashes, to its digest."""
    return {Path(os.path.relpath(file, folder)).as_posix(): digest_of(file) for file in files}


def changed_file(folder: Path, digests: Mapping[str, str]) -> Path | None:
    """The first file that is missing or has changed since `digests_of` was called; None if there is none."""
    for name, digest in digests.items():
        file = folder / name
        if not file.is_file() or digest_of(file) != digest:
            return file
    return None


def key_of(*parts: str) -> str:
    """A digest of all parts; different parts give different keys."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Name to version, segflow and Python first."""
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"segflow": __version__, "python": platform.python_version(), **libraries}
