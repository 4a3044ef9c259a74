"""Work in threads, a bounded number of items ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["map_in_threads", "read_compute_write"]

Item = TypeVar("Item")
Read = TypeVar("Read")
Computed = TypeVar("Computed")
Written = TypeVar("Written")


def map_in_threads(
    pool: ThreadPoolExecutor, function: Callable[[Item], Computed], items: Iterable[Item], *, ahead: int
) -> Iterator[Computed]:
    """The function's values in the items' order; at most `ahead` items are pending while a value is used.

    The items themselves are made in the caller's thread.
    """
    pending: deque[Future[Computed]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def read_compute_write(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    compute: Callable[[Read], Computed],
    write: Callable[[Computed], Written],
    *,
    ahead: int,
) -> Generator[tuple[Item, Written], None, None]:
    """Pass every item through three functions; the first and the last have a thread of their own.

    If an error of a function (raised here) or Ctrl-C ends the loop, items not yet begun are dropped, and reads and
    writes in progress are finished first.

    Args:
        items: In the order in which they are read, computed and written.
        read: Called for one item at a time, in its own thread.
        compute: Called in the caller's thread.
        write: Called for one item at a time, in its own thread.
        ahead: At most this many items are read in advance, and as many wait to be written. With 0, all is done in the
            caller's thread, one item after the other.

    Yields:
        Every item and what `write` returned for it, in order.
    """
    if ahead == 0:
        for item in items:
            yield item, write(compute(read(item)))
        return
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        try:
            contents = map_in_threads(reader, lambda item: (item, read(item)), items, ahead=ahead)
            computed = ((item, compute(content)) for item, content in contents)
            yield from map_in_threads(writer, lambda pair: (pair[0], write(pair[1])), computed, ahead=ahead)
        finally:
            reader.shutdown(wait=False, cancel_futures=True)
            writer.shutdown(wait=False, cancel_futures=True)
