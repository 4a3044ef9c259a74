"""Timing the steps of a training before there are cases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from case_samples import architecture_of
from tiny_problem import make_job

from segflow.contracts.labels import Labels
from segflow.training import timing
from segflow.training.timing import StepTimes, time_steps

REGIONS = Labels(
    (("background", 0), ("whole", (1, 2)), ("core", 2), ("ignore", 3)), regions_class_order=(1, 2)
)


@pytest.mark.parametrize(
    "job",
    [
        make_job(2),
        make_job(3, labels=REGIONS),
        make_job(3, previous_stage="3d_lowres"),
        make_job(3, recipe={"validation_iterations": 0}),
    ],
    ids=["2d", "regions and ignore", "cascade", "nothing held out"],
)
def test_the_steps_of_any_job(job):
    times = time_steps(job, seconds=2.0)
    assert 0 < times.validation < times.training < 2


@pytest.mark.parametrize(
    ("options", "expected"), [({}, 2.0), ({"workers": 1}, 9.0), ({"device": "cuda:0"}, 9.0)]
)
def test_a_busy_processor_does_not_count(options, expected):
    """But what other processes or a GPU do for this one is seen on the clock only."""
    assert timing._spent(replace(make_job(2), **options), (1.0, 1.0), (10.0, 3.0)) == expected


@pytest.fixture
def sizes(monkeypatch):
    """Steps of 2 s and 1 ms per voxel, and validation without cost, on a clock of their own; the sizes timed."""
    timed, now = [], [0.0]

    def time_one(job, end):
        seconds = 2 + timing._voxels(job) / 1000
        timed.append((job.configuration.patch_shape, job.configuration.batch_size))
        now[0] = max(now[0] + 3 * seconds, end)
        return seconds, 0.0

    monkeypatch.setattr(timing, "_timed", time_one)
    monkeypatch.setattr(timing.time, "monotonic", lambda: now[0])
    architecture = architecture_of(["11", "22", "22"], (4, 8, 16))
    return make_job(2, patch_shape=(64, 48), batch_size=10, architecture=architecture), timed


def test_the_largest_size_that_fits_is_next_until_the_whole_batch_is_timed(sizes):
    job, timed = sizes
    times = time_steps(job, seconds=1000)
    assert times == StepTimes(pytest.approx(2 + 30.72), 0.0, whole=True)
    assert timed == [((8, 8), 2), ((64, 48), 2), ((64, 48), 10)]


@pytest.mark.parametrize(("seconds", "n_timed"), [(0, 1), (40, 3)])
def test_sizes_that_would_take_too_long_are_reckoned_from_smaller_ones(sizes, seconds, n_timed):
    job, timed = sizes
    times = time_steps(job, seconds=seconds)
    assert (len(timed), times.whole) == (n_timed, False)
    # A single size is taken to have no cost of its own, and gives too much.
    assert times.training == pytest.approx(2 + 30.72 if n_timed > 1 else 2.128 * 30720 / 128)
