"""Fixed parameters of model selection and of the post-processing search."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from segflow.contracts.codec import Amount, Contract
from segflow.contracts.plan import ConfigurationName

__all__ = ["PostprocessingRecipe", "SelectionRecipe"]


class SelectionRecipe(Contract):
    """Which candidates there are, and how the best is chosen. Source: method.md section 22.

    Attributes:
        configurations: Configurations that are trained and chosen among; null: all that the plan holds.
        prefer_single_within: Choose the best single configuration if its mean Dice is at most this much below that of
            the best pair; 0: the highest score wins, as in nnU-Net.
    """

    configurations: Annotated[tuple[ConfigurationName, ...], Field(min_length=1)] | None = None
    prefer_single_within: Annotated[float, Field(ge=0, le=1)] = 0.0


class PostprocessingRecipe(Contract):
    """Which operations are tried, in this order. Source: method.md section 23 for the first.

    Attributes:
        largest_component: Keep only the largest component, of the whole foreground and of each target: true (where that
            raises the Dice), false, or if_single_in_labels (without regard to the Dice, of each target that is one
            component in every training label it occurs in).
        remove_below_mm3: Remove components smaller than one of these volumes (mm2 in flat images), in ascending order,
            as in [10, 100].
        fill_holes: Fill background that a target encloses.
    """

    largest_component: bool | Literal["if_single_in_labels"] = True
    remove_below_mm3: tuple[Amount, ...] = ()
    fill_holes: bool = False

    @model_validator(mode="after")
    def _is_ascending(self) -> Self:
        volumes = self.remove_below_mm3
        if list(volumes) != sorted(set(volumes)):
            raise ValueError(
                f"postprocessing.remove_below_mm3 must be ascending without repetition, found {list(volumes)}"
            )
        return self

    @property
    def is_empty(self) -> bool:
        """No operation is tried."""
        return not (self.largest_component or self.remove_below_mm3 or self.fill_holes)
