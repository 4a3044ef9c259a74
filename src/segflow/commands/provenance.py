"""How a result came about, in a file beside it.

It does not lie in the result itself, because results are compared by content: another time of day is not another
result.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints

from segflow.commands.arguments import Call, Reads, Result, marks_of
from segflow.contracts.artefacts import Provenance
from segflow.storage.files import digest_of, versions, write_text

__all__ = ["provenance_file", "recorded"]


def provenance_file(result: Path) -> Path:
    """Where the provenance of a result lies: beside it, and that of a package beside the package's folder.

    A package is handed on, and provenance names folders of the machine that made it.
    """
    if result.name == "model.json":
        result = result.parent
    return result.with_name(f"{result.name}.provenance")


@contextmanager
def recorded(
    function: Callable[..., None],
    arguments: Mapping[str, Any],
    call: Call,
    command: Sequence[str],
    code: Mapping[str, str],
) -> Iterator[None]:
    """Write the provenance of what the block makes, if it succeeds.

    Args:
        function: Its signature says which arguments are read and which is the result; without a result, nothing is
            recorded.
        arguments: By name.
        call: Notes files that no argument names.
        command: As it was called.
        code: Module to digest.
    """
    hints = get_type_hints(function, include_extras=True)
    marked = [
        (path, mark)
        for name, value in arguments.items()
        for mark in marks_of(hints[name])
        for path in _paths(value)
    ]
    result = next((path for path, mark in marked if isinstance(mark, Result)), None)
    if result is None:
        yield
        return
    started = _now()
    read = [file for path, mark in marked if isinstance(mark, Reads) for file in mark.files(path)]
    inputs = {str(file): digest_of(file) for file in read}
    yield
    inputs |= {str(file): digest_of(file) for file in sorted(call.inputs)}
    made = Provenance(
        command=tuple(command),
        inputs=inputs,
        code=dict(code),
        versions=versions(),
        device=_device(arguments.get("device", "auto" if "device" in hints else "cpu"), call.gpus),
        started=started,
        finished=_now(),
    )
    write_text(provenance_file(result), made.to_json())


def _paths(value: Any) -> list[Path]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return [path for path in values if isinstance(path, Path)]


def _device(asked: str, gpus: int) -> str:
    """What torch computed on, if it did; on several GPUs, it was in other processes than this."""
    torch = sys.modules.get("torch")
    if torch is None or asked == "cpu" or not torch.cuda.is_available():
        return "cpu"
    name = str(torch.cuda.get_device_name())
    return f"{gpus} x {name}" if gpus > 1 else name


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
