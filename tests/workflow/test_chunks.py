"""Chunks: bounded in number, and blind to what other cases there are."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segflow.workflow.datasets import chunk_count, chunk_of

IDENTIFIERS = st.lists(st.text(min_size=1), unique=True, max_size=30)
COUNTS = st.sampled_from([1, 2, 4, 8, 32, 1024])
SIZES = {"n_cases": st.integers(0, 10**6), "cases": st.integers(1, 1000), "most": st.integers(1, 1000)}


@given(**SIZES)
def test_a_bounded_power_of_two(n_cases, cases, most):
    count = chunk_count(n_cases, cases=cases, most=most)
    assert 1 <= count <= most
    assert count & (count - 1) == 0
    assert count == 1 or (count // 2) * cases < n_cases  # half as many would not do
    assert count * cases >= n_cases or 2 * count > most  # nor are they too few, unless they may not be more


@given(**SIZES)
def test_a_further_case_never_makes_fewer(n_cases, cases, most):
    few, more = (chunk_count(n, cases=cases, most=most) for n in (n_cases, n_cases + 1))
    assert more in (few, 2 * few)


@pytest.mark.parametrize(
    ("n_cases", "cases", "most", "count"),
    [
        (0, 16, 32, 1),
        (1, 16, 32, 1),
        (16, 16, 32, 1),
        (17, 16, 32, 2),
        (32, 16, 32, 2),
        (33, 16, 32, 4),
        (512, 16, 32, 32),
        (513, 16, 32, 32),
        (10**6, 16, 32, 32),
        (100, 1, 1, 1),
        (100, 1, 33, 32),
        (3, 1, 3, 2),
    ],
)
def test_count(n_cases, cases, most, count):
    assert chunk_count(n_cases, cases=cases, most=most) == count


@given(IDENTIFIERS, COUNTS)
def test_every_case_has_one_chunk(identifiers, count):
    assert all(0 <= chunk_of(identifier, count) < count for identifier in identifiers)


@given(IDENTIFIERS, COUNTS)
def test_doubling_splits_every_chunk_in_two(identifiers, count):
    for identifier in identifiers:
        assert chunk_of(identifier, 2 * count) % count == chunk_of(identifier, count)


def test_chunks_are_about_even():
    sizes = Counter(chunk_of(f"case_{number:04}", 32) for number in range(32 * 100))
    assert set(sizes) == set(range(32))
    assert min(sizes.values()) > 60
    assert max(sizes.values()) < 140


def test_the_same_on_every_machine():
    """Noted once: another answer would prepare all data sets again."""
    found = {name: chunk_of(name, 2**16) for name in ("phantom_000", "phantom_001", "ä")}
    assert found == {"phantom_000": 13359, "phantom_001": 20614, "ä": 36940}
