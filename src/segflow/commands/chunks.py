"""Verbs that handle a chunk of a data set's cases."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from segflow.contracts.case import Case
from segflow.workflow.chunks import chunk_of

__all__ = ["add_chunk_argument", "cases_of_chunk", "parse_chunk"]


def add_chunk_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--chunk`."""
    parser.add_argument(
        "--chunk",
        type=parse_chunk,
        default=(0, 1),
        metavar="I/N",
        help="chunk I of N, from 0 (default: all cases)",
    )


def cases_of_chunk(cases: Sequence[Case], chunk: tuple[int, int]) -> tuple[Case, ...]:
    """The cases of a chunk.

    Args:
        cases: Of the whole data set.
        chunk: (index, count).

    Returns:
        Some of them, maybe none.
    """
    index, count = chunk
    return tuple(case for case in cases if chunk_of(case.identifier, count) == index)


def parse_chunk(text: str) -> tuple[int, int]:
    """Understand "I/N": part I of N, counted from 0.

    Raises:
        argparse.ArgumentTypeError: It is not of that form.
    """
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError:
        index, count = 0, 0
    if not 0 <= index < count:
        raise argparse.ArgumentTypeError(f"'{text}' is not I/N with 0 <= I < N")
    return index, count
