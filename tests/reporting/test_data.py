"""Rows of training.csv to columns."""

from __future__ import annotations

import math

from segflow.reporting.data import History


def test_columns_from_rows():
    rows = [
        {
            "epoch": "0",
            "train_loss": "-0.5",
            "mean_pseudo_dice": 0.25,
            "ema_pseudo_dice": None,
            "seconds": "3",
        },
        {"epoch": "1", "train_loss": "-0.6", "mean_pseudo_dice": "", "ema_pseudo_dice": 0.5, "seconds": "3"},
    ]
    history = History.from_rows("2d", 4, rows)
    assert (history.configuration, history.fold) == ("2d", 4)
    assert history.epochs == (0, 1)
    assert history.train_loss == (-0.5, -0.6)
    assert history.pseudo_dice[0] == 0.25
    assert math.isnan(history.pseudo_dice[1])
    assert math.isnan(history.ema_pseudo_dice[0])
    assert all(math.isnan(value) for value in history.validation_loss)
