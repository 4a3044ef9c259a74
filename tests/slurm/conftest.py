"""One cluster for all tests here, and the small experiment of the workflow's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster import Cluster, NoClusterError, one_node_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running cluster; without one the tests are skipped, and say why."""
    try:
        with one_node_cluster() as running:
            yield running
    except NoClusterError as reason:
        pytest.skip(str(reason))
