"""Mutations of files, binary or text: bits, numbers, words, lines, lengths."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from random import Random

HEADER_BYTES = 400  # half of all changes are made here, as most of a format is
NUMBERS = (
    0,
    1,
    -1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    2**31 - 1,
    -(2**31),
    2**32 - 1,
    2**63 - 1,
)
REALS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, 1e300, float("nan"), float("inf"), float("-inf"))
KINDS = "bBhHiIqQ"
WORDS = (
    *[
        "0",
        "1",
        "-1",
        "2",
        "3",
        "4",
        "5",
        "7",
        "255",
        "65536",
        "99999999999999999999",
        "1e30",
        "1e-30",
        "nan",
        "inf",
        "-inf",
        "NaN",
        "Infinity",
        "true",
        "false",
        "null",
    ],
    *(
        '""',
        "[]",
        "{}",
        "[1,",
        '"x"',
        "../x",
        "/etc/hostname",
        "%s%n",
        "\x00",
        "é",
        "\ud7ff",
        "=1+1",
        "[/x]",
        "{x}",
        "a" * 300,
    ),
)


def mutated(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """A file with one or several random changes.

    Args:
        content: The file.
        others: Files that parts may be taken from.
        random: Decides.
    """
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        way = random.choice(_WAYS)
        content = (
            way(content, random) if way is not _splice else _splice(content, random, random.choice(others))
        )
    return content


def _place(content: bytes, random: Random) -> int:
    return random.randrange(max(1, min(len(content), random.choice((HEADER_BYTES, len(content))))))


def _flip(content: bytes, random: Random) -> bytes:
    place = _place(content, random)
    byte = bytes(value ^ (1 << random.randrange(8)) for value in content[place : place + 1])
    return content[:place] + byte + content[place + 1 :]


def _number(content: bytes, random: Random) -> bytes:
    order = random.choice("<>")
    if random.random() < 0.4:
        packed = struct.pack(order + random.choice("fd"), min(random.choice(REALS), 3e38))
    else:
        kind = random.choice(KINDS)
        size = struct.calcsize(kind)
        packed = (random.choice(NUMBERS) % 256**size).to_bytes(size, "little" if order == "<" else "big")
    place = _place(content, random)
    place -= random.choice((0, place % 2, place % 4))
    return content[:place] + packed + content[place + len(packed) :]


def _word(content: bytes, random: Random) -> bytes:
    words = list(re.finditer(rb"[-+.\w]+", content[: 16 * HEADER_BYTES]))
    if not words:
        return content
    start, end = random.choice(words).span()
    return content[:start] + random.choice(WORDS).encode() + content[end:]


def _line(content: bytes, random: Random) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    place = random.randrange(len(lines))
    lines[place : place + 1] = random.choice(([], [lines[place]] * 2, [random.choice(lines)]))
    return b"".join(lines)


def _cut(content: bytes, random: Random) -> bytes:
    return content[: _place(content, random)]


def _remove(content: bytes, random: Random) -> bytes:
    place = _place(content, random)
    return content[:place] + content[place + random.choice((1, 2, 4, 16, 100)) :]


def _repeat(content: bytes, random: Random) -> bytes:
    place, size = _place(content, random), random.choice((1, 2, 4, 16, 100))
    return (
        content[:place] + content[place : place + size] * random.choice((2, 3, 50)) + content[place + size :]
    )


def _splice(content: bytes, random: Random, other: bytes) -> bytes:
    place = _place(content, random)
    return content[:place] + other[place:]


_WAYS: tuple[Callable[..., bytes], ...] = (
    _flip, _number, _number, _number, _word, _word, _line, _cut, _remove, _repeat, _splice,
)  # fmt: skip
