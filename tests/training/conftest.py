"""One thread: threads that wait for each other make tiny networks slow on a busy machine."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")  # before the module's own fixtures, some of which train
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
