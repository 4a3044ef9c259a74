"""Probabilities in half precision."""

from __future__ import annotations

import numpy as np
import pytest

from segflow.contracts.errors import PredictionError
from segflow.io.probabilities import read_probabilities, write_probabilities


def test_round_trip(tmp_path, frozen):
    scores = frozen(
        np.random.default_rng(0).dirichlet((1, 1, 1), (4, 5, 6)).astype(np.float32).transpose(3, 0, 1, 2)
    )
    write_probabilities(tmp_path / "a.npz", scores)
    found = read_probabilities(tmp_path / "a.npz")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, scores, rtol=2**-11, atol=2**-25)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.npz"]


def test_missing(tmp_path):
    with pytest.raises(PredictionError, match=r"a\.npz does not exist; predict this fold again"):
        read_probabilities(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_damaged(content, tmp_path):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(PredictionError, match=r"a\.npz is damaged"):
        read_probabilities(tmp_path / "a.npz")


def test_objects_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", probabilities=np.array([{}], object))
    with pytest.raises(PredictionError, match=r"a\.npz is damaged"):
        read_probabilities(tmp_path / "a.npz")
