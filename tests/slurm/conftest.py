"""One cluster for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster import NoClusterError, one_node_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[float]:
    """A running cluster, and the seconds its start has taken; without one the tests are skipped, and say why."""
    try:
        with one_node_cluster() as seconds:
            yield seconds
    except NoClusterError as reason:
        pytest.skip(str(reason))
