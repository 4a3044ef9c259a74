"""Feature maps per stage."""

from __future__ import annotations

from segflow.planning.topology import features_per_stage
from segflow.recipes.planner import PlannerRecipe


def test_features_double_up_to_a_limit():
    assert features_per_stage(PlannerRecipe(), 6, 3) == (32, 64, 128, 256, 320, 320)
    assert features_per_stage(PlannerRecipe(), 6, 2) == (32, 64, 128, 256, 512, 512)


def test_base_and_limit_are_the_recipes():
    narrow = PlannerRecipe(base_features=4, max_features_3d=20)
    assert features_per_stage(narrow, 4, 3) == (4, 8, 16, 20)
    assert features_per_stage(narrow, 1, 2) == (4,)
