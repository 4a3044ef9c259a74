"""Reading, computing and writing at the same time, a bounded number of items apart."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["overlapped"]

Item = TypeVar("Item")
Read = TypeVar("Read")
Computed = TypeVar("Computed")
Written = TypeVar("Written")


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    compute: Callable[[Read], Computed],
    write: Callable[[Computed], Written],
    *,
    ahead: int,
) -> Generator[tuple[Item, Written], None, None]:
    """Let every item pass through three functions, of which the first and the last have a thread of their own.

    Whatever ends the loop (an error of a function, which is raised here, or Ctrl-C), what has not begun is dropped, and
    what is being read or written is finished first.

    Args:
        items: In the order in which they are read, computed and written.
        read: Is called in a thread of its own, for one item at a time.
        compute: Is called in the thread of the caller.
        write: Is called in a thread of its own, for one item at a time.
        ahead: So many items at most are read before they are needed, and as many wait to be written. With 0, all is
            done in the caller's thread, one item after the other.

    Yields:
        Every item and what `write` gave for it, in order.
    """
    if ahead == 0:
        for item in items:
            yield item, write(compute(read(item)))
        return
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        try:
            contents = _in_thread(reader, read, ((item, item) for item in items), ahead)
            computed = ((item, compute(content)) for item, content in contents)
            yield from _in_thread(writer, write, computed, ahead)
        finally:
            reader.shutdown(wait=False, cancel_futures=True)
            writer.shutdown(wait=False, cancel_futures=True)


def _in_thread(
    pool: ThreadPoolExecutor,
    function: Callable[[Read], Written],
    pairs: Iterable[tuple[Item, Read]],
    waiting: int,
) -> Iterator[tuple[Item, Written]]:
    """The function's value of each pair's second part; at most so many are under way while a value is used."""
    under_way: deque[tuple[Item, Future[Written]]] = deque()
    for item, content in pairs:
        under_way.append((item, pool.submit(function, content)))
        if len(under_way) > waiting:
            yield _result(under_way)
    while under_way:
        yield _result(under_way)


def _result(under_way: deque[tuple[Item, Future[Written]]]) -> tuple[Item, Written]:
    item, future = under_way.popleft()
    return item, future.result()
