"""What an experiment will cost, in words, and what it has cost beside it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from segflow.contracts.forecast import Forecast
from segflow.reporting.data import StageTime
from segflow.reporting.text import duration_text

__all__ = ["compared", "forecast_lines"]

#: A night has ten hours.
_DAY, _NIGHT = 86400.0, 10 * 3600.0
_WEEKS, _YEARS = 21, 730
_MOST_EPOCHS: Final = 10**9
#: From here on a CPU's user is told what would fit a night.
_LONG: Final = 12 * 3600.0


def forecast_lines(forecast: Forecast, *, hours: float | None = None) -> list[str]:
    """The forecast in some lines: what is trained, how long that takes, memory, disk, and what to change.

    With `hours`, it also says how many epochs fit into that time.
    """
    networks, folds = forecast.networks, len(forecast.folds)
    device = f"the CPU with {forecast.threads} threads" if forecast.device == "cpu" else "this GPU"
    lines = [
        f"forecast: {_of(folds * len(networks), 'training')} ({_of(len(networks), 'configuration')}, "
        f"{_of(folds, 'fold')}), {forecast.steps:,} steps: about {_long_text(forecast.seconds)} on {device}"
        + (f", {forecast.side_by_side} jobs at a time" if forecast.side_by_side > 1 else "")
    ]
    for one in networks:
        memory = "" if one.gpu_memory_gb is None else f", {one.gpu_memory_gb:.1f} GB of GPU memory"
        timed = "" if one.whole else " (from smaller batches)"
        lines.append(
            f"  {one.configuration}: {_long_text(one.training_s)} per training at {_step_text(one.step_s)} a step"
            f"{timed}; held-out cases {_long_text(one.prediction_s)}{memory}"
        )
    disk = (sum(one.prepared_gb for one in networks), sum(one.predictions_gb for one in networks))
    lines.append(
        f"  planned for a GPU of {forecast.planned_gpu_memory_gb:g} GB; disk: {_gb(disk[0])} of prepared cases, "
        f"at most {_gb(disk[1])} of predictions"
    )
    if hours is not None:
        lines.append(f"  {_fitting(forecast, 3600 * hours, duration_text(3600 * hours))}")
    return [*lines, *_advice(forecast)]


def compared(stages: Iterable[StageTime], forecast: Forecast | None) -> tuple[StageTime, ...]:
    """The stages with what was forecast for training and for held-out predictions, if it was."""
    expected = {"train": forecast.training_s, "predict fold": forecast.prediction_s} if forecast else {}
    return tuple(replace(stage, forecast_s=expected.get(stage.name)) for stage in stages)


def _advice(forecast: Forecast) -> list[str]:
    epochs = max(one.epochs for one in forecast.networks)
    halved = [f"training.epochs={max(1, epochs // 2)}"] if epochs > 1 else []
    if len(forecast.networks) > 1:
        longest = max(forecast.networks, key=lambda one: one.training_s)
        halved.append(f"leave out a configuration ({longest.configuration} takes longest)")
    lines = [f"  about half of it: {', or '.join(halved)}"] if halved else []
    if forecast.device != "cpu" or forecast.seconds < _LONG:
        return lines
    fits = _fitting(forecast, _NIGHT, "a night")
    return [
        *lines,
        f"  these networks are meant for a GPU, and a CPU takes {_long_text(forecast.seconds)}: {fits}",
    ]


def _fitting(forecast: Forecast, seconds: float, name: str) -> str:
    """In words, how many epochs let all trainings and predictions end in that time."""
    fitting = bisect_right(
        range(1, _MOST_EPOCHS), seconds, key=lambda epochs: forecast.of_length(epochs).seconds
    )
    if fitting:
        return f"training.epochs={fitting} fits {name}"
    return f"not even one epoch of it fits {name}: fewer folds, configurations and training.iterations would"


def _long_text(seconds: float) -> str:
    days = seconds / _DAY
    if days >= _YEARS:
        return f"{days / 365:.0f} years"
    if days >= _WEEKS:
        return f"{days / 7:.0f} weeks"
    return f"{days:.1f} days" if days >= 2 else duration_text(seconds)


def _step_text(seconds: float) -> str:
    return duration_text(seconds) if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _of(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"


def _gb(size: float) -> str:
    return f"{size:.1f} GB" if size >= 1 else f"{1000 * size:.0f} MB"
