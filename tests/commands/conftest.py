"""A small plan."""

from __future__ import annotations

import pytest

from segflow.contracts.fingerprint import Fingerprint, IntensityProperties
from segflow.contracts.plan import Plan
from segflow.planning import PlanInput, make_plan
from segflow.recipes import recipe_named


@pytest.fixture
def plan() -> Plan:
    """Of flat images: nothing but 2d."""
    properties = IntensityProperties(
        max=1, mean=0.5, median=0.5, min=0, percentile_00_5=0, percentile_99_5=1, std=0.1
    )
    fingerprint = Fingerprint(
        foreground_intensity_properties_per_channel={"0": properties},
        median_relative_size_after_cropping=1.0,
        shapes_after_crop=((1, 64, 64),) * 5,
        spacings=((999.0, 1.0, 1.0),) * 5,
    )
    dataset = PlanInput(name="flat", channel_names=("gray",), n_cases=5, n_outputs=2)
    return make_plan(fingerprint, dataset, recipe_named("nnunet"))
