"""What all tests share: real data beside the checkout, read-only arrays, one Hypothesis profile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parents[1]

# No deadline: a machine may be busy. The same examples each time: a failure must be repeatable.
settings.register_profile(
    "segflow",
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("segflow")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data sets beside the checkout; without it the test is skipped."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the real data sets (a folder 'shared' beside the checkout) are not here")
    return folder


@pytest.fixture(scope="session")
def frozen() -> Callable[[Any], np.ndarray]:
    """A function that gives a read-only copy of an array: code that writes to its input then fails."""

    def freeze(array: Any) -> np.ndarray:
        copy = np.array(array)
        copy.setflags(write=False)
        return copy

    return freeze
