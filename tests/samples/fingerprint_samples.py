"""Made-up fingerprints, and plans of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from case_samples import INTENSITIES

from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.plan import Plan
from segflow.planning.plan import PlanInput, make_plan
from segflow.recipes.planner import PlannerRecipe


def fingerprint_of(
    cases: Iterable[tuple[Sequence[float], Sequence[int]]], *, relative_size: float = 1.0, channels: int = 1
) -> Fingerprint:
    """From (spacing, shape after the crop) pairs."""
    spacings, shapes = zip(*cases, strict=True)
    return Fingerprint(
        foreground_intensity_properties_per_channel={str(c): INTENSITIES for c in range(channels)},
        median_relative_size_after_cropping=relative_size,
        shapes_after_crop=tuple(tuple(shape) for shape in shapes),
        spacings=tuple(tuple(spacing) for spacing in spacings),
    )


#: Planned without and with a low resolution.
SINGLE = fingerprint_of(
    [((0.8, 6.0, 0.8), (512, 24, 480)), ((0.8, 5.0, 0.8), (500, 25, 480))], relative_size=0.5, channels=2
)
CASCADE = fingerprint_of([((1.0, 0.75, 0.75), (432, 512, 512))] * 2, relative_size=0.5, channels=2)


def sample_plan(fingerprint: Fingerprint = SINGLE, *, n_cases: int = 40, **recipe: Any) -> Plan:
    dataset = PlanInput(name="Sample", channel_names=("CT", "T1"), n_cases=n_cases, n_outputs=3)
    return make_plan(fingerprint, dataset, PlannerRecipe(**recipe))
