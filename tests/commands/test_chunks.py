"""`--chunk I/N`, and the cases it stands for."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from segflow.commands.chunks import add_chunk_argument, cases_of_chunk, parse_chunk
from segflow.contracts.case import Case

CASES = tuple(Case(f"case_{n:03}", (Path(f"case_{n:03}_0000.nii.gz"),), None) for n in range(40))


@pytest.mark.parametrize("text", ["3/3", "-1/4", "1", "a/b", "0/0", "1/2/3", "", "1.0/2"])
def test_a_chunk_that_does_not_exist_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not I/N"):
        parse_chunk(text)


def test_a_chunk_is_understood():
    assert parse_chunk("2/5") == (2, 5)


def test_without_the_option_all_cases_are_meant():
    parser = argparse.ArgumentParser()
    add_chunk_argument(parser)
    assert cases_of_chunk(CASES, parser.parse_args([]).chunk) == CASES
    assert parser.parse_args(["--chunk", "1/2"]).chunk == (1, 2)


@pytest.mark.parametrize("count", [1, 2, 8, 64])
def test_every_case_is_in_one_chunk_and_they_keep_their_order(count):
    shares = [cases_of_chunk(CASES, (index, count)) for index in range(count)]
    found = [case.identifier for share in shares for case in share]
    assert sorted(found) == [case.identifier for case in CASES]
    assert all(list(share) == [case for case in CASES if case in share] for share in shares)
