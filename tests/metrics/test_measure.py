"""What a label map measures, against sums by hand."""

from __future__ import annotations

import numpy as np
import pytest

from segflow.contracts.labels import Labels
from segflow.metrics.measure import measure

REGIONS = Labels((("background", 0), ("whole", (1, 2)), ("core", (2,)), ("absent", (3,))), (1, 2, 3))


@pytest.mark.parametrize(("spacing", "voxel_ml"), [((2.0, 5.0, 10.0), 0.1), ((2.0, 5.0), None)])
def test_regions_and_channels(spacing, voxel_ml):
    found = np.array([[[0, 1, 2, 2]]], np.uint8)
    image = np.array([[[[9, 1, 2, 6]]], [[[0, 0, 0, 3]]]], np.float32)
    rows = measure("a", image, found, REGIONS, spacing)
    assert [(row.target, row.name, row.voxels) for row in rows] == [
        ("(1, 2)", "whole", 3), ("(2,)", "core", 2), ("(3,)", "absent", 0),
    ]  # fmt: skip
    assert [row.mean_intensity for row in rows] == [(3, 1), (4, 1.5), (None, None)]
    volumes = [row.volume_ml for row in rows]
    assert volumes == ([None] * 3 if voxel_ml is None else pytest.approx([3 * voxel_ml, 2 * voxel_ml, 0]))
