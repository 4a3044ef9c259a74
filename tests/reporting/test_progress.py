"""The picture of a training."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from segflow.reporting.progress import draw_progress


def record(epoch, **changes):
    values = {
        "epoch": epoch,
        "learning_rate": 0.01 * (1 - epoch / 1000),
        "train_loss": -0.1 * epoch,
        "validation_loss": -0.05 * epoch,
        "pseudo_dice": (0.1 * epoch, math.nan),
        "mean": 0.1 * epoch,
        "ema": 0.08 * epoch,
        "seconds": 3.0 + epoch % 7,
    }
    return values | changes


def pixels(records, names=("organ", "lesion")):
    with Image.open(io.BytesIO(draw_progress(records, names))) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


NOTHING = dict.fromkeys(("validation_loss", "mean", "ema"), math.nan)


@pytest.mark.parametrize(
    "records",
    [
        [],
        [record(0)],
        [record(epoch) for epoch in range(1000)],
        [record(epoch, pseudo_dice=(math.nan, math.nan), **NOTHING) for epoch in range(3)],
    ],
    ids=["no epoch", "one epoch", "many epochs", "undefined values"],
)
def test_any_training_can_be_drawn(records):
    assert pixels(records).shape == (700, 1100, 3)


def test_each_panel_shows_its_values():
    before = pixels([record(epoch) for epoch in range(6)])
    np.testing.assert_array_equal(before, pixels([record(epoch) for epoch in range(6)]))
    quarters = {"train_loss": (0, 0), "mean": None, "ema": (0, 1), "learning_rate": (1, 0), "seconds": (1, 1)}
    for key, place in quarters.items():
        other = {key: record(0)[key]}  # within the range, so that the axes stay the same
        records = [record(epoch, **(other if epoch == 3 else {})) for epoch in range(6)]
        changed = np.abs(pixels(records) - before).sum(2) > 0
        halves = [np.array_split(half, 2, axis=1) for half in np.array_split(changed, 2, axis=0)]
        found = {(row, column) for row in range(2) for column in range(2) if halves[row][column].any()}
        assert found == ({place} if place else set()), key
