"""What an experiment will cost, in words."""

from __future__ import annotations

import pytest

from segflow.contracts.forecast import Forecast, NetworkForecast
from segflow.reporting.data import StageTime
from segflow.reporting.forecast import compared, forecast_lines

NETWORK = NetworkForecast(
    configuration="3d_fullres", epochs=1000, iterations=250, validation_iterations=50, step_s=10.0, validation_s=2.0,
    whole=True, prediction_s=3600.0, gpu_memory_gb=None, prepared_gb=20.0, predictions_gb=0.5,
)  # fmt: skip


def forecast(device="cpu", side_by_side=1, folds=5, other=None, **changes):
    network = NETWORK.model_copy(update=changes)
    return Forecast(
        device=device,
        threads=4,
        folds=tuple(map(str, range(folds))),
        side_by_side=side_by_side,
        planned_gpu_memory_gb=8.0,
        networks=(network,) if other is None else (network.model_copy(update=other), network),
    )


def test_the_default_on_a_cpu():
    assert forecast_lines(forecast()) == [
        "forecast: 5 trainings (1 configuration, 5 folds), 1,250,000 steps: about 22 weeks on the CPU with 4 threads",
        "  3d_fullres: 4 weeks per training at 10.0 s a step; held-out cases 1 h 00 min",
        "  planned for a GPU of 8 GB; disk: 20.0 GB of prepared cases, at most 500 MB of predictions",
        "  about half of it: training.epochs=500",
        "  these networks are meant for a GPU, and a CPU takes 22 weeks: training.epochs=2 fits a night",
    ]  # fmt: skip


def test_two_configurations_on_a_gpu():
    two = {"configuration": "2d", "step_s": 0.1, "prepared_gb": 0.0, "whole": False}
    made = forecast("cuda", 2, 1, two, step_s=0.2, validation_s=0.1, gpu_memory_gb=7.25)
    assert forecast_lines(made) == [
        "forecast: 2 trainings (2 configurations, 1 fold), 500,000 steps: about 16 h 17 min on this GPU, "
        "2 jobs at a time",
        "  2d: 8 h 20 min per training at 100 ms a step (from smaller batches); held-out cases 1 h 00 min, "
        "7.2 GB of GPU memory",
        "  3d_fullres: 15 h 17 min per training at 200 ms a step; held-out cases 1 h 00 min, 7.2 GB of GPU memory",
        "  planned for a GPU of 8 GB; disk: 20.0 GB of prepared cases, at most 1.0 GB of predictions",
        "  about half of it: training.epochs=500, or leave out a configuration (3d_fullres takes longest)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"step_s": 0.05, "validation_s": 0.01, "folds": 1}, None),  # 5 hours
        ({"step_s": 1.0, "validation_s": 0.2, "folds": 1}, "training.epochs=124 fits a night"),
        ({"step_s": 100.0}, "not even one epoch of it fits a night"),
        ({"prediction_s": 1e6}, "not even one epoch of it fits a night"),
    ],
)
def test_what_fits_a_night(changes, said):
    *_, last = forecast_lines(forecast(**changes))
    assert "night" not in last if said is None else said in last


def test_what_fits_the_hours_that_there_are():
    """Of six hours, 1 for predictions and 1 for the start of ten jobs leave 4, and an epoch takes five folds 0.3."""
    quick = forecast("cuda", 1, 5, step_s=0.8, validation_s=0.32).model_copy(update={"start_s": 360.0})
    assert "  training.epochs=13 fits 6 h 00 min" in forecast_lines(quick, hours=6.0)
    assert forecast_lines(quick, hours=2)[-2].startswith("  not even one epoch of it fits 2 h 00 min")


def test_a_training_is_not_shared_among_jobs():
    """Five folds in four places take two rounds, and one fold takes as long wherever there is room."""
    five, one = (forecast("cuda", 4, folds, step_s=0.2, validation_s=0.1) for folds in (5, 1))
    assert five.seconds == 2 * (1000 * 55.0 + 3600 / 5)
    assert one.seconds == 1000 * 55.0 + 3600
    assert "  training.epochs=981 fits 16 h 00 min" in forecast_lines(one, hours=16.0)


def test_the_forecast_beside_the_truth():
    """Every job of both stages begins by loading its libraries; where nothing is held out, none predicts."""
    stages = (StageTime("train", 100.0, 5), StageTime("predict fold", 10.0, 5), StageTime("report", 1.0))
    made = forecast(epochs=2, iterations=1, validation_iterations=0, prediction_s=9.0)
    made = made.model_copy(update={"start_s": 3.0})
    expected = [5 * (2 * 10.0 + 3.0), 9.0 + 5 * 3.0, None]
    assert [stage.forecast_s for stage in compared(stages, made)] == expected
    network = NETWORK.model_copy(update={"prediction_s": 0.0})
    assert made.model_copy(update={"networks": (network,)}).prediction_s == 0
