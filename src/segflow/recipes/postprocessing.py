"""Fixed parameters of the post-processing search. Source: method.md section 23."""

from __future__ import annotations

from segflow.contracts.codec import Contract

__all__ = ["PostprocessingRecipe"]


class PostprocessingRecipe(Contract):
    """Which operations are tried.

    Attributes:
        largest_component: Keep the largest component only, of the whole foreground and of each class.
    """

    largest_component: bool = True
