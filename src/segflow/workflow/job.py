"""What a command does in addition when it runs as a job of the workflow."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segflow.contracts.artefacts import Provenance
from segflow.storage.files import digest_of, versions, write_text

__all__ = ["provenance_file", "recorded"]

#: Options that name what a command writes; any other path is read.
_WRITTEN = ("output", "manifest", "history", "work", "log", "parts")


def provenance_file(result: Path) -> Path:
    """Where the provenance of a result lies: beside it."""
    return result.with_name(f"{result.name}.provenance")


@contextmanager
def recorded(options: argparse.Namespace, command: Sequence[str], code: Mapping[str, str]) -> Iterator[None]:
    """Write the provenance of what the block makes, if it succeeds.

    It does not lie in the result itself, because results are compared by content: another time of day is not another
    result.

    Args:
        options: Of the command; the result is `manifest` or, without one, `output`. A command that is told a folder
            says in `also_read` which of its files it has read.
        command: As it was called.
        code: Module to digest.
    """
    result = getattr(options, "manifest", None) or getattr(options, "output", None)
    if result is None:
        yield
        return
    started = _now()
    inputs = {str(file): digest_of(file) for file in _read_files(options)}
    yield
    inputs |= {str(file): digest_of(file) for file in getattr(options, "also_read", ())}
    made = Provenance(
        command=tuple(command),
        inputs=inputs,
        code=dict(code),
        versions=versions(),
        device=_device(options),
        started=started,
        finished=_now(),
    )
    write_text(provenance_file(result), made.to_json())


def _read_files(options: argparse.Namespace) -> list[Path]:
    """Files among the options; of a folder, what says what is in it."""
    found: list[Path] = []
    for name, value in vars(options).items():
        values: list[Any] = list(value) if isinstance(value, (list, tuple)) else [value]
        paths = [path for path in values if isinstance(path, Path)] if name not in _WRITTEN else []
        found += [file for path in paths for file in (path, path / "dataset.json", path / "manifest.json")]
    return [path for path in found if path.is_file()]


def _device(options: argparse.Namespace) -> str:
    """What torch computed on, if it did; on several GPUs, it was in other processes than this."""
    torch = sys.modules.get("torch")
    if torch is None or getattr(options, "device", "cpu") == "cpu" or not torch.cuda.is_available():
        return "cpu"
    name = str(torch.cuda.get_device_name())
    gpus = getattr(options, "gpus", 1)
    return f"{gpus} x {name}" if gpus > 1 else name


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
