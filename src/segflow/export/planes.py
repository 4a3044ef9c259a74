"""Planes of scores that arrive one after the other, and the few that are needed at a time. Source: ours."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import Scores

__all__ = ["PlaneWindow", "in_threads", "joined"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class PlaneWindow:
    """The last planes of a volume that comes in chunks."""

    def __init__(self, chunks: Iterable[Scores]) -> None:
        self._chunks = iter(chunks)
        self._held: deque[tuple[int, Scores]] = deque()  # with the number of its first plane
        self._end = 0

    def take(self, wanted: slice) -> list[Scores]:
        """Consecutive planes, as views; earlier ones are forgotten.

        Args:
            wanted: Must not begin before an earlier call's planes.

        Returns:
            Pieces (k, n, y, x) that make up the planes.

        Raises:
            ValueError: The chunks end before.

        Source: ours.
        """
        while self._held and self._held[0][0] + self._held[0][1].shape[1] <= wanted.start:
            self._held.popleft()
        while self._end < wanted.stop:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise ValueError(f"{self._end} planes of scores came, but plane {wanted.stop - 1} is needed")
            self._held.append((self._end, chunk))
            self._end += chunk.shape[1]
        return [
            chunk[:, max(wanted.start - first, 0) : wanted.stop - first]
            for first, chunk in self._held
            if first < wanted.stop
        ]


def joined(pieces: list[Scores], channel: int) -> NDArray[np.float32]:
    """One channel of pieces, (z, y, x). Source: ours."""
    return pieces[0][channel] if len(pieces) == 1 else np.concatenate([piece[channel] for piece in pieces])


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Iterator[Result]:
    """The function's values in the items' order; at most one item more than there are threads is under way.

    Args:
        function: Releases the interpreter for most of its time, as numpy does.
        items: Taken by the caller's own thread.
        threads: At least 1.

    Yields:
        One value per item.

    Source: ours.
    """
    under_way: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            under_way.append(pool.submit(function, item))
            if len(under_way) > threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
