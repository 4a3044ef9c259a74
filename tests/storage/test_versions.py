"""What is noted beside a model."""

from __future__ import annotations

import numpy as np
import torch

import segflow
from segflow.storage.files import versions


def test_versions():
    found = versions()
    assert found["segflow"] == segflow.__version__
    assert found["numpy"] == np.__version__
    assert (
        found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    )  # the kind of build is not always named
    assert list(found)[:2] == ["segflow", "python"]
