"""When a low resolution is planned, and how it is coarsened."""

from __future__ import annotations

import math

import pytest

from segflow.planning.cascade import plan_low_resolution
from segflow.recipes.planner import PlannerRecipe


def low(spacing_mm, median_shape, full_patch):
    return plan_low_resolution(
        spacing_mm, median_shape, full_patch, PlannerRecipe(), n_cases=100, n_outputs=2
    )


def test_none_if_the_patch_sees_a_quarter():
    assert low((1.0,) * 3, (128, 128, 256), (64, 128, 128)) is None


def test_none_if_it_would_save_less_than_half():
    assert low((1.0,) * 3, (160, 160, 160), (96, 96, 96)) is None  # 22 %: one or two steps are enough


@pytest.mark.parametrize(("edge", "kept"), [(248, False), (254, True)])
def test_saving_half_is_enough(edge, kept):
    found = low((1.0,) * 3, (edge,) * 3, (128,) * 3)  # 7 steps save 1 - 1/1.86, 8 steps 1 - 1/2.03
    assert (found is not None) == kept


def test_isotropic_spacing_grows_evenly():
    found = low((0.5,) * 3, (600, 600, 600), (128,) * 3)
    steps = math.log(found.spacing_mm[0] / 0.5, 1.03)
    assert steps == pytest.approx(round(steps))
    assert found.spacing_mm == (found.spacing_mm[0],) * 3
    patch = math.prod(found.topology.patch)
    ratio = 0.5 / found.spacing_mm[0]
    assert patch / (600 * ratio) ** 3 >= 0.25 > patch / (600 * ratio * 1.03) ** 3
    assert found.median_shape == (round(600 * ratio),) * 3


def test_the_step_is_the_recipes():
    recipe = PlannerRecipe(low_resolution_step=2)
    common = {"n_cases": 100, "n_outputs": 2}
    found = plan_low_resolution((5.0, 1.0, 1.0), (200, 512, 512), (72, 160, 160), recipe, **common)
    ratios = [low / full for low, full in zip(found.spacing_mm, (5.0, 1.0, 1.0), strict=True)]
    assert ratios == [1, 4, 4]  # at 2 mm, 5 mm is still over twice as coarse; at 4 mm a patch covers enough
    assert found.median_shape == (200, 128, 128)


def test_fine_axes_are_coarsened_first():
    found = low((5.0, 1.0, 1.0), (200, 512, 512), (72, 160, 160))
    in_plane = math.log(found.spacing_mm[1], 1.03)
    through = math.log(found.spacing_mm[0] / 5, 1.03)
    assert in_plane == pytest.approx(round(in_plane))
    assert found.spacing_mm[1] == found.spacing_mm[2]
    assert round(in_plane) > round(through) + 30  # 31 steps bring 1 mm to half of 5 mm
