"""The picture of a training."""

from __future__ import annotations

import io
from math import nan

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
        "pseudo_dice": (0.1 * epoch, nan),
        "mean": 0.1 * epoch,
        "ema": 0.08 * epoch,
        "seconds": 3.0 + epoch % 7,
    }
    return values | changes


def pixels(records):
    with Image.open(io.BytesIO(draw_progress(records, ("organ", "lesion")))) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


NOTHING = {**dict.fromkeys(("validation_loss", "mean", "ema"), nan), "pseudo_dice": (nan, nan)}


@pytest.mark.parametrize(
    "records",
    [
        [],
        [record(0)],
        [record(epoch) for epoch in range(1000)],
        [record(epoch, **NOTHING) for epoch in range(3)],
    ],
    ids=["no epoch", "one epoch", "many epochs", "undefined values"],
)
def test_any_training_can_be_drawn(records):
    assert pixels(records).shape == (700, 1100, 3)


@pytest.mark.parametrize("name", [r"$\frac$", "$a$ and $b", "a_{b}^"])
def test_names_are_no_formulas(name):
    assert draw_progress([record(0)], (name, "other")).startswith(b"\x89PNG")


def test_each_panel_shows_its_values():
    before = pixels([record(epoch) for epoch in range(6)])
    # Two panels per picture; the values lie within the range, so that the axes stay the same.
    for keys, places in (
        (("train_loss", "seconds"), {(0, 0), (1, 1)}),
        (("ema", "learning_rate"), {(0, 1), (1, 0)}),
        (("mean",), set()),
    ):
        other = {key: record(0)[key] for key in keys}
        found = pixels([record(epoch, **(other if epoch == 3 else {})) for epoch in range(6)])
        changed = (found != before).any(axis=2)
        quarters = [np.array_split(half, 2, axis=1) for half in np.array_split(changed, 2, axis=0)]
        assert {
            (row, column) for row in range(2) for column in range(2) if quarters[row][column].any()
        } == places
