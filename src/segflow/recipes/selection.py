"""Fixed parameters of the choice among models. Source: method.md section 22."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from segflow.contracts.codec import Contract

__all__ = ["SelectionRecipe"]


class SelectionRecipe(Contract):
    """How the best candidate is chosen.

    Attributes:
        prefer_single_within: Take the best single configuration if its mean Dice is lower than that of the best pair by
            at most so much; 0: the highest wins, as in the peer.
    """

    prefer_single_within: Annotated[float, Field(ge=0, le=1)] = 0.0
