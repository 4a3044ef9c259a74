"""Plans of 2D images, thin stacks and images that are too small."""

from __future__ import annotations

import pytest
from fingerprint_samples import fingerprint_of

from segflow.contracts.errors import PlanError
from segflow.planning.plan import PlanInput, make_plan
from segflow.recipes.planner import PlannerRecipe

RECIPE = PlannerRecipe()
SAMPLE = PlanInput(name="sample", channel_names=("MRI",), n_cases=100, n_outputs=2)


def test_a_given_spacing_says_nothing_of_the_third_axis_of_2d_images():
    found = [
        make_plan(
            fingerprint_of([((999, 1, 1), (1, 300, 200))]), SAMPLE, PlannerRecipe(spacing_mm=(z, 2.0, 2.0))
        )
        for z in (1.0, 999.0)
    ]
    assert found[0] == found[1]
    assert list(found[0].configurations) == ["2d"]
    assert found[0].configurations["2d"].median_shape == (150.0, 100.0)


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "names"),
    [
        ((2, 3000, 3000), None, ["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]),
        ((2, 64, 64), (5.0, 1.0, 1.0), ["2d"]),
        ((30, 11, 7), None, ["3d_fullres"]),  # no two stages in 2D
    ],
)
def test_thin_and_tiny_images(shape, spacing_mm, names):
    plan = make_plan(fingerprint_of([((1, 1, 1), shape)]), SAMPLE, PlannerRecipe(spacing_mm=spacing_mm))
    assert list(plan.configurations) == names
    assert all(len(one.architecture.strides) > 1 for one in plan.configurations.values())


def test_images_for_which_there_is_no_network():
    with pytest.raises(PlanError, match=r"images of 1 x 7 x 6 voxels \(median\) are too small for a U-Net"):
        make_plan(fingerprint_of([((999, 1, 1), (1, 7, 6))]), SAMPLE, RECIPE)
