"""Feature maps per stage."""

from __future__ import annotations

from segflow.recipes.planner import PlannerRecipe

__all__ = ["features_per_stage"]


def features_per_stage(recipe: PlannerRecipe, n_stages: int, dimensions: int) -> tuple[int, ...]:
    """Feature maps of each stage: doubled, up to a limit.

    Args:
        recipe: Holds the base and the limits.
        n_stages: Resolutions, the bottleneck included.
        dimensions: 2 or 3.

    Returns:
        One entry per stage.

    Source: method.md section 6.5.
    """
    limit = recipe.max_features_2d if dimensions == 2 else recipe.max_features_3d
    return tuple(min(limit, recipe.base_features * 2**stage) for stage in range(n_stages))
