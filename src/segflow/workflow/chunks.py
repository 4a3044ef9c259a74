"""Which cases are handled by one job. Adding a case changes one chunk, and the number of chunks is bounded.

A separate module: stages that work on a chunk do not depend on how the workflow reads its configuration.
"""

from __future__ import annotations

import hashlib

__all__ = ["chunk_count", "chunk_of"]


def chunk_count(n_cases: int, *, cases: int, most: int) -> int:
    """Number of chunks of about `cases` cases: at most `most`, and a power of two, so that growth halves them."""
    count = 1
    while count * cases < n_cases and count * 2 <= most:
        count *= 2
    return count


def chunk_of(identifier: str, count: int) -> int:
    """The chunk of a case, 0 to count - 1. It depends on the identifier alone, not on which other cases there are."""
    return int.from_bytes(hashlib.sha256(identifier.encode()).digest()[:8]) % count
