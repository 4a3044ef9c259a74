"""Fixtures around the tiny problem."""

import pytest
import torch
from tiny_problem import Bar, Reader, Store, make_job


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other make tiny networks slow on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def bar():
    return Bar()


@pytest.fixture
def bar_that_interrupts():
    return Bar


@pytest.fixture
def job():
    """A function that makes a job."""
    return make_job
