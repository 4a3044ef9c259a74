"""Fixed parameters of the choice among models. Source: method.md section 22.

Fixed parameters of the post-processing search. Source: method.md section 23; all but the first are ours.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from segflow.contracts.codec import Contract

__all__ = ["PostprocessingRecipe", "SelectionRecipe"]


class SelectionRecipe(Contract):
    """How the best candidate is chosen.

    Attributes:
        prefer_single_within: Take the best single configuration if its mean Dice is lower than that of the best pair by
            at most so much; 0: the highest wins, as in the peer.
    """

    prefer_single_within: Annotated[float, Field(ge=0, le=1)] = 0.0


Volume = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class PostprocessingRecipe(Contract):
    """Which operations are tried, in this order.

    Attributes:
        largest_component: Keep the largest component only, of the whole foreground and of each target.
        remove_below_mm3: Remove components smaller than one of these volumes (mm2 of flat images), ascending.
        fill_holes: Fill the background that a target encloses.
    """

    largest_component: bool = True
    remove_below_mm3: tuple[Volume, ...] = ()
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
    def asks_nothing(self) -> bool:
        """No operation is tried."""
        return not (self.largest_component or self.remove_below_mm3 or self.fill_holes)
