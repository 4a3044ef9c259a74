"""What `segflow predict` says beforehand: how many forward passes its cases take."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from segflow.commands.console import console, logger
from segflow.contracts.errors import SegflowError
from segflow.images.case_files import Inputs
from segflow.images.cases import read_geometry

if TYPE_CHECKING:  # it needs torch
    from segflow.prediction.predictor import Predictor

__all__ = ["announce"]


def announce(predictor: Predictor, inputs: Inputs, *, suggest: bool) -> None:
    """Say how many forward passes the cases take, as far as their headers can be read."""
    from segflow.prediction.passes import passes_of

    counted = []
    for case in inputs.cases.values():
        with suppress(SegflowError, OSError):  # it is reported when its voxels are read
            counted.append(passes_of(predictor, read_geometry(case.images[0], case=case.identifier)))
    for passes in zip(*counted, strict=True):
        one, tiles = passes[0], _number([p.tiles for p in passes], "tile")
        times = f"x {_number([one.mirrorings], 'mirroring')} x {_number([one.networks], 'fold')}"
        total = _number([p.total for p in passes], "forward pass")
        _say(f"{one.configuration}: {tiles} {times} = {total} per case")
    every, fewest = (sum(getattr(p, name) for ps in counted for p in ps) for name in ("total", "tiles"))
    hint = f"; with --fast at most {fewest:,}" if suggest and fewest < every else ""
    if counted:
        _say(f"{_number([len(counted)], 'case')}: at most {_number([every], 'forward pass')}{hint}")


def _say(line: str) -> None:
    console.print(line)
    logger.info("%s", line)


def _number(values: list[int], word: str) -> str:
    """One number with its noun, or the smallest and the largest of several."""
    low, high = min(values), max(values)
    plural = f"{word}es" if word.endswith("s") else f"{word}s"
    return f"{low:,} to {high:,} {plural}" if low < high else f"{low:,} {word if low == 1 else plural}"
